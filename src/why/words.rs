//! The words of `why`, in Chinese and in English.

use std::fmt::Write as _;

use bellwether_agent::{
    Booking,
    booking::text,
    judge::{Series, engine::explain::Explained, room},
    rule::Limit,
    site::Language,
};
use bellwether_probes::{Metric, Scale};
use chrono::{DateTime, Utc};

use crate::config::Config;

pub(super) struct Words<'a> {
    pub(super) language: Language,
    pub(super) instant: &'a dyn Fn(DateTime<Utc>) -> String,
}

impl Words<'_> {
    fn pick<T>(&self, chinese: T, english: T) -> T {
        match self.language {
            Language::Chinese => chinese,
            Language::English => english,
        }
    }

    /// One line for a booking: what it is about.
    pub(super) fn booking(&self, booking: &Booking) -> String {
        format!("{}\n", text::write(booking, self.language).subject)
    }

    /// A series: a title, and a line for each thing that is known of it.
    pub(super) fn series(&self, known: &Explained, limits: Option<&Series>, config: &Config) -> String {
        let Some((metric, probe, labels)) = room::series(&known.metric, &known.labels) else { return String::new() };
        let spec = metric.spec();
        let show = |value: f64| spec.unit.show(value);
        let labels_text = labels.iter().map(|(label, value)| format!(" {}={value}", label.name())).collect::<String>();
        let title = self.pick(spec.title_zh.to_owned(), spec.name.replace('_', " "));
        let mut out = format!("{title} [{} {probe}{labels_text}]\n", spec.name);
        let mut line = |name: &str, value: String| {
            let colon = self.pick("：", ": ");
            let _ = writeln!(out, "  {name}{colon}{value}");
        };
        let at = known.at.and_then(DateTime::from_timestamp_millis).map(|at| (self.instant)(at)).unwrap_or_default();
        match known.now {
            Some(now) => line(
                self.pick("当前", "reads"),
                self.pick(
                    format!("{}（截至 {at} 的半小时）", show(now)),
                    format!("{}, the half-hour to {at}", show(now)),
                ),
            ),
            None => {
                line(self.pick("当前", "reads"), self.pick("尚无完整的半小时".into(), "no whole half-hour yet".into()))
            }
        }
        self.health(known, metric, &mut line, &show);
        if let Some(rule) = config.rules.for_series(metric, &probe, &labels) {
            let stands = limits.map(|limits| &limits.limit);
            self.limit(self.pick("限值", "limit"), rule.limit.as_ref(), stands, &mut line, &show);
            let stands = limits.map(|limits| &limits.critical);
            self.limit(self.pick("严重限值", "critical limit"), rule.critical.as_ref(), stands, &mut line, &show);
        }
        out
    }

    /// What the series is in health, and the evidence that it is not.
    fn health(
        &self,
        known: &Explained,
        metric: Metric,
        line: &mut dyn FnMut(&str, String),
        show: &dyn Fn(f64) -> String,
    ) {
        if let Some(days) = known.learning {
            let learning = self.pick(
                format!("学习中，已有 {days:.1} 天；此前只按限值判断"),
                format!("still being learned, {days:.1} days so far; until then only limits count"),
            );
            line(self.pick("健康时", "in health"), learning);
            return;
        }
        let (Some(expected), Some(level)) = (known.expected, known.level) else { return };
        let material = match metric.spec().scale {
            Scale::Log(_) => format!("× {:.2}", known.material.exp()),
            Scale::Linear(_) => show(known.material),
        };
        let noise = known.sigma.unwrap_or_default();
        line(
            self.pick("健康时", "in health"),
            self.pick(
                format!("{}（同一负载与时段；半小时间的波动为可察觉变化的 {noise:.2} 倍）", show(expected)),
                format!(
                    "{} at this load and hour; half-hours differ by {noise:.2} times what is material",
                    show(expected)
                ),
            ),
        );
        line(
            self.pick("偏差", "worse by"),
            self.pick(
                format!("可察觉变化（{material}）的 {level:.2} 倍"),
                format!("{level:.2} times what is material ({material})"),
            ),
        );
        let ((fast, slow), (fast_at, slow_at)) = (known.evidence, known.alarm_at);
        line(
            self.pick("证据", "evidence"),
            self.pick(
                format!("{fast:.1} / {fast_at:.0} 物质时，{slow:.1} / {slow_at:.0} 物质日"),
                format!("{fast:.1} of {fast_at:.0} material-hours, {slow:.1} of {slow_at:.0} material-days"),
            ),
        );
        if known.alarm {
            let since = DateTime::from_timestamp_millis(known.since).map(|at| (self.instant)(at)).unwrap_or_default();
            line(
                self.pick("判定", "judged"),
                self.pick(format!("自 {since} 起异常"), format!("not in health since {since}")),
            );
            if let Some(at) = known.clears_at {
                let (at, left) = (show(at), known.clears_in);
                line(
                    self.pick("恢复条件", "clears"),
                    self.pick(
                        format!("再有 {left} 个半小时优于 {at}"),
                        format!("after {left} more half-hours better than {at}"),
                    ),
                );
            }
        } else {
            let alarm = match known.alarm_in {
                Some(left) => self.pick(
                    format!("若维持现状，{left} 个半小时后报警"),
                    format!("if it stays as it is, in {left} half-hours"),
                ),
                None => self.pick(
                    "现状不会报警；偏差 1.5 倍持续约 6 小时、2.5 倍约 2.5 小时即报警".to_owned(),
                    "not at this level; 1.5 times what is material for about 6 h makes one, 2.5 times for about 2.5 h"
                        .to_owned(),
                ),
            };
            line(self.pick("报警条件", "alarms"), alarm);
        }
    }

    fn limit(
        &self,
        name: &str,
        limit: Option<&Limit>,
        stands: Option<&bellwether_agent::judge::Track>,
        line: &mut dyn FnMut(&str, String),
        show: &dyn Fn(f64) -> String,
    ) {
        let Some(limit) = limit else { return };
        let edges = limit.enter.edges().map(show).collect::<Vec<_>>().join(self.pick("、", " and "));
        let bad = stands.map_or(0, |track| track.runs.iter().filter(|bad| **bad).count());
        let of = stands.map_or(0, |track| track.runs.len());
        let counts = limit.counts;
        let beyond = stands.is_some_and(|track| track.beyond);
        let state = if beyond {
            let good = stands.map_or(0, |track| track.good);
            self.pick(
                format!("已超限；连续 {} 次正常后恢复（现 {good} 次）", counts.recover),
                format!("beyond it; back after {} good runs in a row ({good} so far)", counts.recover),
            )
        } else {
            self.pick(
                format!("未超限；最近 {of} 次中 {bad} 次超出，{} 次中 {} 次即判定", counts.of, counts.bad),
                format!(
                    "within it; {bad} of the last {of} runs beyond, {} of {} would make it so",
                    counts.bad, counts.of
                ),
            )
        };
        line(name, self.pick(format!("{edges}，{state}"), format!("{edges}, {state}")));
    }
}
