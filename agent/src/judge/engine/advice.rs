//! What advice on a size says, in the order of every booking: what, how much, since when, how sure, what
//! changed before, what it is not, and what would end it.

use std::fmt::Write as _;

use super::{
    Engine,
    case::{Action, Case, Change, RuledOut, Scope, Size, Verb},
    local::start_of,
    settings::Part,
    sizing::{COSTS, DOWN, Direction, HIGH, LOW, UP, Use},
    statistics::median,
    text::{changed, moment, rounded},
};

impl Engine {
    /// What is said of advice.
    pub(super) fn advice(
        &self,
        case: &Case,
        direction: Direction,
        at: i64,
        verb: Verb,
        reason: Option<String>,
    ) -> Action {
        let evidence = match case.scope {
            Scope::Room(room) => self.box_sizes(case, room, direction),
            Scope::Service(service) => self.service_sizes(service),
            Scope::Building(_) | Scope::Version(..) => Vec::new(),
        };
        let changed_before = self.changes(case);
        let ruled_out = self.not_the_cause(case, direction);
        let text = self.advice_text(case, direction, &evidence, &changed_before, &ruled_out);
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
            peers: None,
            hardware: Vec::new(),
            reason,
            text: Some(text),
        }
    }

    /// Of each part that tells for the advice: the bound, and the middle of the days; the days that tell, of
    /// those looked at.
    fn box_sizes(&self, case: &Case, room: usize, direction: Direction) -> Vec<Size> {
        let (size, taught) = (&self.state.rooms[room].size, self.state.term.taught);
        let last = if direction == Direction::Up { UP.0 } else { DOWN };
        let bound = if direction == Direction::Up { HIGH } else { LOW };
        let parts = [(Part::Processor, bound.0), (Part::Memory, bound.1)];
        let sizes = parts.into_iter().filter_map(|(part, bound)| {
            let used = |day: &super::sizing::Day| if part == Part::Processor { day.cpu } else { day.mem };
            let share = |used: Use| if direction == Direction::Up { used.p95 } else { used.p99 };
            let tells = |used: Use| match direction {
                Direction::Up => f64::from(used.p95) >= bound,
                Direction::Down => used.above == 0,
            };
            let days: Vec<Use> = size.recent(taught, last).filter_map(used).collect();
            let bad = days.iter().filter(|used| tells(**used)).count();
            let metric = (0..self.state.measures.len()).find_map(|measure| {
                self.series(room, measure)?;
                let metric = self.metric(measure);
                metric.role.filter(|role| role.part == part).map(|role| (metric, role))
            });
            let (metric, role) = metric.filter(|(metric, _)| case.metrics.contains(&metric.name))?;
            let now = median(&mut days.iter().map(|used| share(*used)).collect::<Vec<f32>>())?;
            Some(Size {
                metric: metric.name.clone(),
                labels: String::new(),
                before: rounded(bound * role.full),
                now: rounded(now * role.full),
                material: rounded((now - bound) * role.full / metric.material),
                bad: bad as u32,
                of: last,
                path: Self::path_of_advice(),
                s: bad as f64,
                h: if direction == Direction::Up { UP.1 as f64 } else { f64::from(DOWN) },
            })
        });
        sizes.collect()
    }

    /// What a usual and the highest load read, for each metric that load makes worse.
    fn service_sizes(&self, service: usize) -> Vec<Size> {
        let Some((usual, highest)) = self.state.services[service].size.bins(self.state.term.taught) else {
            return Vec::new();
        };
        let sizes = self.load_measures().filter_map(|measure| {
            let metric = self.metric(measure);
            let level = self.site.services[service].rooms.iter().filter_map(|room| {
                let anchor = self.series(*room, measure)?.healthy.anchor?;
                Some(anchor as f32)
            });
            let level = median(&mut level.collect::<Vec<f32>>())?;
            let (usual, highest) = (self.by_load(service, measure, usual)?, self.by_load(service, measure, highest)?);
            let costs = (highest - usual) / metric.material;
            Some(Size {
                metric: metric.name.clone(),
                labels: String::new(),
                before: rounded(metric.shown(level + usual)),
                now: rounded(metric.shown(level + highest)),
                material: rounded(costs),
                bad: DOWN,
                of: DOWN,
                path: Self::path_of_advice(),
                s: rounded(costs),
                h: COSTS,
            })
        });
        sizes.collect()
    }

    /// What was looked at before the size was found to be the cause.
    fn not_the_cause(&self, case: &Case, direction: Direction) -> Vec<RuledOut> {
        let mut out = Vec::new();
        out.push(match case.scope {
            Scope::Room(_) => RuledOut::new(
                "version",
                "none changed in this room and none was blamed for 10 teaching days",
                "近 10 个教学日本教室没有版本变更，也没有版本被认定有问题",
            ),
            _ => RuledOut::new("version", "none changed on it for 10 teaching days", "近 10 个教学日其版本没有变更"),
        });
        let service = match case.scope {
            Scope::Room(room) => {
                out.push(RuledOut::new(
                    "room",
                    "no booking of its processor or memory on the days counted",
                    "所统计的日子里其处理器与内存没有故障预约",
                ));
                self.site.service_of[room]
            }
            Scope::Service(service) => service,
            Scope::Building(_) | Scope::Version(..) => return out,
        };
        let size = &self.state.services[service].size;
        if direction == Direction::Down
            && let Some((busiest, busy)) = size.busiest().zip(size.busy_day())
        {
            let because = format!("a day at {busiest:.0} users is among them, a busy one of the term has {busy:.0}");
            let because_zh = format!("其中有一天达到 {busiest:.0} 人，本学期繁忙日为 {busy:.0} 人");
            out.push(RuledOut::new("load", because, because_zh));
        }
        out
    }

    fn advice_text(
        &self,
        case: &Case,
        direction: Direction,
        evidence: &[Size],
        changes: &[Change],
        ruled_out: &[RuledOut],
    ) -> String {
        let (kind, id) = self.scope(&case.scope);
        let of_box = matches!(case.scope, Scope::Room(_));
        let mut text = format!("{}{} {id}: ", kind[..1].to_uppercase(), &kind[1..]);
        let measured = match (of_box, direction) {
            (true, Direction::Up) => "95 of 100 teaching half-hours",
            (true, Direction::Down) => "99 of 100 teaching half-hours",
            (false, _) => "from a usual to the highest load",
        };
        let sizes: Vec<String> = evidence
            .iter()
            .map(|size| {
                let Size { metric, before, now, material, .. } = size;
                format!("{metric} {before} -> {now} ({measured}, {material:.1} times material)")
            })
            .collect();
        let unmeasured = || case.metrics.iter().map(|metric| format!("{metric} 0 -> none")).collect();
        let sizes: Vec<String> = if sizes.is_empty() { unmeasured() } else { sizes };
        let what = sizes.join(" and ");
        let _ = write!(text, "{what} since {}.", moment(start_of(case.onset), self.settings.zone));
        if let Some(size) = evidence.iter().max_by(|a, b| a.s.total_cmp(&b.s)) {
            let unit = if of_box { "teaching days" } else { "times material" };
            let Size { bad, of, s, h, .. } = size;
            let _ = write!(text, " {bad} of the last {of} teaching days; evidence {s} of {h} {unit}.");
        } else {
            text.push_str(" Evidence: none measured any more.");
        }
        let _ = write!(text, " Changed before: {}.", changed(changes));
        for RuledOut { cause, because, .. } in ruled_out {
            let _ = write!(text, " Not the {cause}: {because}.");
        }
        let size = if direction == Direction::Up { "larger" } else { "smaller" };
        let _ = write!(text, " A {size} size is advised{}.", self.predicted(case, direction, evidence));
        let clears = match (of_box, direction) {
            (true, Direction::Up) => "7 of 10 teaching days stay under that",
            (true, Direction::Down) => "one of 20 teaching half-hours is over that",
            (false, _) => "the highest load costs 0.2 times material",
        };
        let _ = write!(text, " Clears when {clears}.");
        text
    }

    /// What the processor's use would be with twice or half the cores; nothing if they are not known.
    fn predicted(&self, case: &Case, direction: Direction, evidence: &[Size]) -> String {
        let Scope::Room(room) = case.scope else { return String::new() };
        let Some(cores) = self.state.rooms[room].size.cores else { return String::new() };
        let processor = |size: &&Size| {
            let metric = self.settings.metrics.iter().find(|metric| metric.name == size.metric);
            metric.and_then(|metric| metric.role).is_some_and(|role| role.part == Part::Processor)
        };
        let Some(size) = evidence.iter().find(processor) else { return String::new() };
        let new = if direction == Direction::Up { cores.saturating_mul(2) } else { cores.div_ceil(2) };
        let predicted = rounded(size.now * f64::from(cores) / f64::from(new));
        format!(": with {new} cores instead of {cores}, {} would be {predicted}", size.metric)
    }
}
