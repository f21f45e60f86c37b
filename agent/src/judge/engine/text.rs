//! What a booking says: what, how much, since when, how sure, what changed before, what it is not, and
//! what would clear it. A cause is ruled out only where it was tested.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike, Offset, TimeZone};
use chrono_tz::Tz;

use super::{
    Engine,
    case::{Action, Case, Cause, Change, RuledOut, Scope, Severity, Size, Verb},
    local::{BLOCK_MS, DAY_BLOCKS, start_of},
    ring::KEPT,
    rollout::{Rollout, SISTERS},
    settings::{MetricSettings, Scale},
    state::{Path, Whose},
    statistics::median,
};

/// Blocks that tell what a series reads now.
const NOW: i64 = 24;
/// Hours before the onset that a change is told of.
const CHANGES: i64 = 14 * 24;

impl Engine {
    /// What is said of a booking.
    pub(super) fn action(&self, place: usize, at: i64, verb: Verb, reason: Option<String>) -> Action {
        let case = &self.state.cases[place];
        if let Some(direction) = case.advice {
            return self.advice(case, direction, at, verb, reason);
        }
        let block = self.last_block();
        let (evidence, changed_before) = (self.sizes(place, block), self.changes(case));
        let ruled_out = self.ruled_out(case, block);
        let peers = self.peers(case);
        let text = self.sentences(case, (block, at), &evidence, &changed_before, &ruled_out, peers);
        Action {
            at,
            verb,
            booking: case.id.clone(),
            scope: self.scope(&case.scope),
            rooms: self.names(case.rooms.iter()),
            metrics: case.metrics.iter().cloned().collect(),
            cause: Some(case.cause),
            severity: Some(case.severity),
            onset: Some(start_of(case.onset)),
            evidence,
            changed_before,
            ruled_out,
            peers,
            hardware: case.hardware.clone(),
            reason,
            text: Some(text),
        }
    }

    /// What is said of a rollout that is no fault.
    pub(super) fn check(&self, at: i64, rollout: &Rollout, reason: String) -> Action {
        let (component, version) = (&rollout.component, &rollout.version);
        Action {
            at,
            verb: Verb::Check,
            booking: format!("{component} {version}"),
            scope: ("version", version.clone()),
            rooms: self.names(rollout.rooms.keys()),
            metrics: Vec::new(),
            cause: None,
            severity: None,
            onset: None,
            evidence: Vec::new(),
            changed_before: Vec::new(),
            ruled_out: Vec::new(),
            peers: None,
            hardware: Vec::new(),
            reason: Some(reason),
            text: None,
        }
    }

    /// A component of a service was upgraded.
    pub(super) fn say_service_check(&mut self, at: i64, service: usize, component: &str, version: &str) {
        let rooms = self.site.services[service].rooms.iter().map(|room| (*room, 0)).collect();
        let (component, version) = (component.to_owned(), version.to_owned());
        let rollout = Rollout { component, version, service, rooms, ..Rollout::default() };
        let mut action = self.check(at, &rollout, "version changed; compared from now on".to_owned());
        action.scope = self.scope(&Scope::Service(service));
        self.actions.push(action);
    }

    pub(super) fn names<'a>(&self, rooms: impl Iterator<Item = &'a usize>) -> Vec<String> {
        let mut names: Vec<String> = rooms.map(|room| self.settings.rooms[*room].id.clone()).collect();
        names.sort_unstable();
        names
    }

    pub(super) fn scope(&self, scope: &Scope) -> (&'static str, String) {
        match scope {
            Scope::Room(room) => ("room", self.settings.rooms[*room].id.clone()),
            Scope::Building(at) => ("building", self.site.buildings[*at].id.clone()),
            Scope::Service(at) => ("service", self.site.services[*at].id.clone()),
            Scope::Version(_, version, _) => ("version", version.clone()),
        }
    }

    /// The newest block that is closed, or is being closed.
    fn last_block(&self) -> i64 {
        self.state.block.unwrap_or_default()
    }

    /// Sizes of the measures of a booking: medians over its rooms and its last half-hours.
    pub(super) fn sizes(&self, place: usize, block: i64) -> Vec<Size> {
        let case = &self.state.cases[place];
        case.measures.iter().filter_map(|measure| self.size(case, *measure, block)).collect()
    }

    fn size(&self, case: &Case, measure: usize, block: i64) -> Option<Size> {
        let metric = self.metric(measure);
        let since = case.onset.max(block - KEPT as i64 + 2);
        let from = since.max(block - NOW);
        let (mut before, mut now, mut off) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bad, mut of) = (0_u32, 0_u32);
        for room in &case.rooms {
            let series = self.series(*room, measure)?;
            for at in since..=block {
                let Some(rest) = self.rest(*room, measure, at) else { continue };
                of += 1;
                bad += u32::from(f64::from(rest) > 0.5 * metric.material);
                if at >= from {
                    let value = series.values.get(at);
                    before.push(value - rest);
                    now.push(value);
                    off.push(rest);
                }
            }
        }
        let rooms = (case.rooms.len() as u32).max(1);
        let kind = case.alarms.iter().filter(|alarm| alarm.measure == Some(measure)).min();
        let path = kind.map_or(Path::Fast, |alarm| alarm.path);
        let evidence = |whose: Whose| -> Option<(f64, f64)> {
            let (fast, slow) = match whose {
                Whose::Room(room) => self.series(room, measure).map(|series| (&series.fast, &series.slow))?,
                Whose::Building(at) => {
                    self.state.buildings[at].shared.get(measure).map(|shared| (&shared.fast, &shared.slow))?
                }
                Whose::Service(at) => {
                    self.state.services[at].shared.get(measure).map(|shared| (&shared.fast, &shared.slow))?
                }
            };
            Some(if path == Path::Slow { (slow.sum, 1.0) } else { (fast.sum, if metric.heavy { 8.0 } else { 4.0 }) })
        };
        let counted = match path {
            Path::Version => Some((case.size, self.enough_to_blame(case, measure, block))),
            Path::Limit | Path::Critical => kind.and_then(|alarm| self.beyond(*alarm, measure)),
            _ => kind.and_then(|alarm| evidence(alarm.whose)),
        };
        let (s, h) = counted.unwrap_or((case.size, 1.0));
        if before.is_empty() {
            // Nothing is learned yet: what it should be is the limit.
            let limit = if path == Path::Critical { metric.critical_limit } else { metric.limit };
            let limit = metric.transformed(limit?)?;
            let series = self.series(*case.rooms.first()?, measure)?;
            now = (from..=block).map(|at| series.values.get(at)).filter(|value| !value.is_nan()).collect();
            if path == Path::Critical || now.is_empty() {
                now = vec![series.newest().or(now.last().copied())?];
            }
            off = now.iter().map(|value| value - limit).collect();
            bad = off.iter().filter(|off| **off > 0.0).count() as u32 * rooms;
            of = off.len() as u32 * rooms;
            before = vec![limit];
        }
        let (before, now, off) = (median(&mut before)?, median(&mut now)?, median(&mut off)?);
        Some(Size {
            metric: metric.name.clone(),
            labels: self.state.measures[measure].labels.clone(),
            before: rounded(metric.shown(before)),
            now: rounded(metric.shown(now)),
            material: rounded(off / metric.material),
            bad: bad / rooms,
            of: of / rooms,
            path: path.name(),
            s: rounded(s),
            h,
        })
    }

    /// Blocks or samples beyond a limit, and how many make an alarm.
    fn beyond(&self, alarm: super::state::Alarm, measure: usize) -> Option<(f64, f64)> {
        let Whose::Room(room) = alarm.whose else { return None };
        let series = self.series(room, measure)?;
        Some(match alarm.path {
            Path::Limit => (f64::from(series.beyond.count_ones()), 9.0),
            _ => (f64::from(series.critical), 3.0),
        })
    }

    /// The size from which on a rollout is blamed, as it is compared now.
    fn enough_to_blame(&self, case: &Case, measure: usize, block: i64) -> f64 {
        let rollout = self.state.rollouts.iter().find(|rollout| {
            matches!(&case.scope, Scope::Version(component, version, service)
                if (&rollout.component, &rollout.version, &rollout.service) == (component, version, service))
        });
        let cohort = rollout.and_then(|rollout| self.cohort(rollout, measure, block, 4));
        if cohort.is_some_and(|cohort| cohort.controlled) { 0.6 } else { 0.8 }
    }

    /// What a booking without a size is about: before and now.
    fn what(&self, case: &Case, block: i64) -> String {
        let Some(first) = case.rooms.first().copied() else { return case.family.clone() };
        if case.cause == Cause::Load {
            let load = &self.state.services[self.site.service_of[first]].load;
            let since = case.onset.max(block - NOW);
            let highest =
                (since..=block).filter_map(|at| load.range(load.bins.get(at))).map(|(low, high)| 0.5 * (low + high));
            let (usual, now) = (load.busy_hour().unwrap_or_default(), highest.fold(0.0, f64::max));
            return format!("{} {usual:.0} -> {now:.0} (more than the service bears)", self.settings.load_metric);
        }
        if !case.measures.is_empty() {
            let healthy = |measure: usize| self.series(first, measure)?.healthy.expected(self.cell(first, block));
            let unmeasured = case.measures.iter().map(|measure| {
                let metric = self.metric(*measure);
                let before = healthy(*measure).map_or(0.0, |healthy| metric.shown(healthy));
                format!("{} {} -> none (not measured any more)", metric.name, amount(metric, before))
            });
            return unmeasured.collect::<Vec<_>>().join(" and ");
        }
        let metrics: Vec<&str> = case.metrics.iter().map(String::as_str).collect();
        let now = if is_silent(case) { "none (the box is silent)" } else { "0 (probes fail)" };
        format!("{} 1 -> {now}", metrics.join(" and "))
    }

    /// What was counted for a booking without a size.
    fn counted(&self, case: &Case, at: i64) -> String {
        let rooms = case.rooms.iter().map(|room| &self.state.rooms[*room]);
        let Some(first) = case.rooms.first() else { return String::new() };
        if case.cause == Cause::Load {
            let evidence = self.state.services[self.site.service_of[*first]].load.evidence;
            return format!(" Evidence {:.1} of {} material-hours.", evidence.sum, super::load::CAPACITY.alarm);
        }
        if !case.measures.is_empty() {
            return " Evidence: none measured any more.".to_owned();
        }
        if is_silent(case) {
            let heard = rooms.filter_map(|room| room.heard).max().unwrap_or(at);
            return format!(" Evidence: nothing heard for {} min.", at.saturating_sub(heard) / 60_000);
        }
        let failed: Vec<u16> = rooms.map(|room| room.failed.0).filter(|failed| *failed > 0).collect();
        let most = failed.iter().copied().max().unwrap_or_default();
        format!(" Evidence: {} of {} rooms fail, {most} times in a row.", failed.len(), case.rooms.len())
    }

    pub(super) fn changes(&self, case: &Case) -> Vec<Change> {
        let onset = start_of(case.onset) + BLOCK_MS;
        let hours = |at: i64| (onset - at) as f64 / (2.0 * BLOCK_MS as f64);
        let room = case.rooms.iter().next();
        let of_room = room.into_iter().flat_map(|room| &self.state.rooms[*room].changes);
        let of_service = room.into_iter().flat_map(|room| &self.state.services[self.site.service_of[*room]].changes);
        let mut changes: Vec<Change> = of_room
            .chain(of_service)
            .filter(|(_, _, at)| *at <= onset && hours(*at) <= CHANGES as f64)
            .map(|(component, to, at)| Change {
                event: "version_change",
                component: component.clone(),
                to: to.clone(),
                ago_h: (hours(*at) * 10.0).round() / 10.0,
            })
            .collect();
        changes.sort_by(|a, b| a.ago_h.total_cmp(&b.ago_h));
        changes
    }

    /// How many other rooms were there to compare with; `None` for what is no matter of one room.
    fn peers(&self, case: &Case) -> Option<usize> {
        let Scope::Room(room) = case.scope else { return None };
        let service = &self.site.services[self.site.service_of[room]];
        Some(if service.rooms.len() >= SISTERS { service.rooms.len() - 1 } else { 0 })
    }

    /// Median level of some rooms over the last `blocks` half-hours, in units of what is material, and how many
    /// rooms that is.
    pub(super) fn level_of(
        &self,
        rooms: impl Iterator<Item = usize>,
        measure: usize,
        block: i64,
        blocks: i64,
    ) -> Option<(f64, usize)> {
        let material = self.metric(measure).material;
        let mut levels: Vec<f32> = rooms
            .filter_map(|room| {
                let rests = (block - blocks..=block).filter_map(|block| self.rest(room, measure, block));
                median(&mut rests.collect::<Vec<f32>>())
            })
            .map(|level| (level / material) as f32)
            .collect();
        Some((median(&mut levels)?, levels.len()))
    }

    /// Causes that were tested and are not it.
    fn ruled_out(&self, case: &Case, block: i64) -> Vec<RuledOut> {
        let mut out = Vec::new();
        let Some(measure) = case.measures.first().copied() else { return self.not_without_measure(case, block) };
        let Some(first) = case.rooms.first().copied() else { return out };
        let service = self.site.service_of[first];
        let load = &self.state.services[service].load;
        let metric = self.metric(measure);
        let bin = load.bins.get(block);
        if case.cause != Cause::Load
            && let Some((low, high)) = load.range(bin)
            && !load.unseen.get(block)
            && let Some(expected) =
                self.series(first, measure).and_then(|s| s.healthy.expected(self.cell(first, block)))
        {
            let normal = shown(metric, metric.shown(expected));
            let because = format!("at {low:.0}-{high:.0} users it had {normal} over 28 days");
            let because_zh = format!("在 {low:.0}–{high:.0} 人时，近 28 天为 {normal}");
            out.push(RuledOut::new("load", because, because_zh));
        }
        let Scope::Room(room) = case.scope else { return out };
        let same_version = |rollout: &&Rollout| rollout.rooms.get(&room).is_some_and(|up| block - up < 14 * DAY_BLOCKS);
        if let Some(rollout) =
            self.state.rollouts.iter().filter(same_version).max_by_key(|rollout| rollout.rooms[&room])
        {
            let others = rollout.rooms.iter().filter(|(other, up)| **other != room && **up <= block - 6);
            if let Some((level, n)) = self.level_of(others.map(|(other, _)| *other), measure, block, NOW)
                && n >= 4
            {
                let (what, level) = (format!("{} {}", rollout.component, rollout.version), change(metric, level));
                let because = format!("{n} other rooms on {what} at {level}");
                let because_zh = format!("另有 {n} 间教室使用 {what}，变化 {level}");
                out.push(RuledOut::new("version", because, because_zh));
            }
        }
        if !self.has_sisters(room) {
            out.extend(self.not_by_itself(case, room, measure, block));
            return out;
        }
        let building = &self.site.buildings[self.site.building_of[room]];
        let neighbours = building.rooms.iter().copied().filter(|other| *other != room);
        if let Some((level, n)) = self.level_of(neighbours, measure, block, NOW)
            && n >= 3
        {
            let (id, level) = (&building.id, change(metric, level));
            let because = format!("{n} other rooms in {id} at {level}");
            let because_zh = format!("{id} 另有 {n} 间教室，变化 {level}");
            out.push(RuledOut::new("building", because, because_zh));
        }
        let sisters = self.site.services[service].rooms.iter().copied().filter(|other| *other != room);
        if let Some((level, n)) = self.level_of(sisters, measure, block, NOW)
            && n >= SISTERS - 1
        {
            let (id, level) = (&self.site.services[service].id, change(metric, level));
            let because = format!("{n} other rooms on {id} at {level}");
            let because_zh = format!("{id} 上另有 {n} 间教室，变化 {level}");
            out.push(RuledOut::new("service", because, because_zh));
        }
        out
    }

    /// Of a room without sisters: what the newest version before the onset did to it, if that is not the cause.
    fn not_by_itself(&self, case: &Case, room: usize, measure: usize, block: i64) -> Option<RuledOut> {
        let before = |rollout: &&Rollout| {
            rollout.rooms.get(&room).is_some_and(|up| *up <= case.onset && block - up < 14 * DAY_BLOCKS)
        };
        let changed = self.changes(case);
        let days = ((case.onset - self.state.first) / DAY_BLOCKS).min(CHANGES / 24);
        if changed.is_empty() && self.settings.own && days > 0 {
            let because = format!("none was changed in the {days} days before");
            let because_zh = format!("此前 {days} 天内没有版本变更");
            return Some(RuledOut::new("version", because, because_zh));
        }
        let rollouts = self.state.rollouts.iter().filter(before);
        let rollout = rollouts.max_by_key(|rollout| rollout.rooms[&room]).filter(|_| case.cause != Cause::Version)?;
        let shift = self.shift_alone(rollout, room, measure, case.onset, 8)?;
        let metric = self.metric(measure);
        let material = shift.center / metric.material;
        if material >= 0.8 && shift.low > 0.0 {
            return None;
        }
        let (what, level) = (format!("{} {}", rollout.component, rollout.version), change(metric, material));
        let because = format!("from {what} to the onset at {level}, against the week before it");
        let because_zh = format!("{what} 安装后至故障开始前，与安装前一周相比变化 {level}");
        Some(RuledOut::new("version", because, because_zh))
    }

    fn sentences(
        &self,
        case: &Case,
        (block, at): (i64, i64),
        evidence: &[Size],
        changes: &[Change],
        ruled_out: &[RuledOut],
        peers: Option<usize>,
    ) -> String {
        let (kind, id) = self.scope(&case.scope);
        let mut text = format!("{}{} {id}: ", kind[..1].to_uppercase(), &kind[1..]);
        let sizes: Vec<String> = evidence
            .iter()
            .map(|size| {
                let metric = self.settings.metrics.iter().find(|metric| metric.name == size.metric);
                let times = match metric {
                    Some(metric) if metric.scale == Scale::Log => format!("x{:.1}, ", size.now / size.before),
                    _ => String::new(),
                };
                let (before, now) = match metric {
                    Some(metric) => (amount(metric, size.before), amount(metric, size.now)),
                    None => (size.before.to_string(), size.now.to_string()),
                };
                let Size { metric, material, .. } = size;
                format!("{metric} {before} -> {now} ({times}{material:.1} times material)")
            })
            .collect();
        let what = if sizes.is_empty() { self.what(case, block) } else { sizes.join(" and ") };
        let _ = write!(text, "{what} since {}.", moment(start_of(case.onset), self.settings.zone));
        if let Some(size) = evidence.first() {
            let unit = match size.path {
                "slow" => "material-days",
                "limit" => "half-hours beyond the limit",
                "critical" => "samples beyond the critical limit",
                "version" => "times material",
                _ => "material-hours",
            };
            let _ = write!(
                text,
                " {} of the last {} half-hours; evidence {:.1} of {} {unit}.",
                size.bad, size.of, size.s, size.h
            );
        }
        if evidence.is_empty() {
            text.push_str(&self.counted(case, at));
        }
        let changed = changed(changes);
        let _ = write!(text, " Changed before: {changed}.");
        for RuledOut { cause, because, .. } in ruled_out {
            let _ = write!(text, " Not the {cause}: {because}.");
        }
        match (peers, ruled_out.is_empty()) {
            (Some(0), _) => text.push_str(" Peers: none; not examined: building, service (fewer than 8 rooms)."),
            (_, true) => {
                let others = ["load", "version", "building", "service"].into_iter();
                let others: Vec<&str> = others.filter(|cause| *cause != case.cause.name()).collect();
                let _ = write!(text, " Not examined: {}.", others.join(", "));
            }
            _ => {}
        }
        text.push_str(&self.doubt(case, block));
        if case.cause == Cause::Version {
            text.push_str(" Hold the rollout.");
        }
        match case.measures.first() {
            Some(measure) if case.cause != Cause::Load => {
                let metric = self.metric(*measure);
                let clear = evidence.first().map(|size| clear_at(metric, size.before));
                let side = if metric.worse == super::settings::Worse::Down { "over" } else { "under" };
                let clear = clear.map_or_else(|| "in health".to_owned(), |clear| format!("{side} {}", rounded(clear)));
                let _ = write!(text, " Clears when {} stays {clear} for 18 h.", metric.name);
            }
            Some(_) => text.push_str(" Clears after 18 h of lessons at a usual load."),
            None if case.cause == Cause::Load => text.push_str(" Clears after 18 h of lessons at a usual load."),
            None => text.push_str(" Clears when probes come through again."),
        }
        if case.severity == Severity::Critical {
            text.push_str(" Before the next lesson.");
        }
        text
    }
}

/// Whether a booking is that of a box that says nothing any more.
fn is_silent(case: &Case) -> bool {
    let silent = |whose| matches!(whose, Whose::Room(room) if case.alarms.contains(&super::critical::silent(room)));
    case.alarms.iter().any(|alarm| silent(alarm.whose))
}

/// What changed before, in words.
pub(super) fn changed(changes: &[Change]) -> String {
    let changed: Vec<String> = changes
        .iter()
        .map(|change| format!("{} {} {:.0} h before", change.component, change.to, change.ago_h))
        .collect();
    if changed.is_empty() { "nothing known for 14 days".to_owned() } else { changed.join(", ") }
}

/// Half of what is material above the healthy value: where recovery begins.
fn clear_at(metric: &MetricSettings, before: f64) -> f64 {
    let sign = if metric.worse == super::settings::Worse::Down { -1.0 } else { 1.0 };
    match metric.scale {
        Scale::Log => before * (sign * 0.5 * metric.material).exp(),
        Scale::Linear => before + sign * 0.5 * metric.material,
    }
}

/// A level in words of the metric: percent on a log scale, an amount on a linear one.
pub(super) fn change(metric: &MetricSettings, level: f64) -> String {
    match metric.scale {
        Scale::Log => format!("{:+.0} %", ((level * metric.material).exp() - 1.0) * 100.0),
        Scale::Linear => format!("{:+.1} times material", level),
    }
}

/// Three digits are enough for people, and the same on every machine.
pub(super) fn rounded(value: f64) -> f64 {
    if !value.is_finite() {
        return 0.0;
    }
    if value == 0.0 {
        return 0.0;
    }
    let digits = 2 - value.abs().log10().floor() as i32;
    if !(-12..=12).contains(&digits) {
        return value;
    }
    let scale = 10_f64.powi(digits.abs());
    if digits >= 0 { (value * scale).round() / scale } else { (value / scale).round() * scale }
}

fn shown(metric: &MetricSettings, value: f64) -> String {
    format!("{} {}", metric.name, amount(metric, value))
}

/// A value in the unit of a metric of bellwether's own, as a number of any other.
fn amount(metric: &MetricSettings, value: f64) -> String {
    metric.unit.map_or_else(|| rounded(value).to_string(), |unit| unit.show(value))
}

/// An instant by the clocks of the site: `Tue 14 Oct 09:30`.
pub(super) fn moment(at: i64, zone: Tz) -> String {
    let utc = DateTime::from_timestamp_millis(at).unwrap_or_default().naive_utc();
    let offset = zone.offset_from_utc_datetime(&utc).fix();
    let local = utc.checked_add_offset(offset).unwrap_or(utc);
    let year = local.year();
    format!("{} {year}", local.format("%a %-d %b %H:%M")).trim_end_matches(&format!(" {year}")).to_owned()
}
