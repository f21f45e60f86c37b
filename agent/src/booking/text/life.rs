//! How a visit is to go, and what the booking has lived through.

use super::Writer;
use crate::{
    archive::effect::Verdict,
    booking::{State, life::By},
    site::Access,
};

/// So many notes are shown, the newest ones; the JSON has all of them.
const MOST_NOTES: usize = 5;

impl Writer<'_> {
    /// Where it stands, once somebody has answered.
    pub(super) fn progress(&self) -> Vec<String> {
        let (booking, words, life) = (self.booking, self.words, &self.booking.life);
        let at = life.appointment.map(|window| self.window(&window)).unwrap_or_default();
        let line = match booking.state {
            State::Suspected => {
                words.pick("待学校确认后发出。", "Proposed: it goes out once the school releases it.").to_owned()
            }
            State::Countered => words.pick(
                format!("维护单位建议改为 {at}，待学校确认。"),
                format!("The vendor proposes {at}; the school has yet to agree."),
            ),
            State::Confirmed => words.pick(format!("已约定：{at}。"), format!("Agreed: {at}.")),
            State::InMaintenance => words.pick("维护进行中。", "The work is under way.").to_owned(),
            State::Reported => {
                words.pick("维护单位报告已完成，正在复检。", "Reported done; everything is measured again.").to_owned()
            }
            State::Observing => {
                words.pick("维护已完成，观察期内。", "The work is done; the room is observed.").to_owned()
            }
            State::Evaluated => words
                .pick("观察期结束，待学校验收。", "The observation is over; the school has yet to accept.")
                .to_owned(),
            State::Archived => words.pick("已验收归档。", "Accepted and archived.").to_owned(),
            State::Refused => {
                words.pick("维护单位无法上门，请学校处理。", "The vendor does not come: somebody must act.").to_owned()
            }
            State::Holding | State::Requested | State::Cancelled | State::NeedsHuman => return Vec::new(),
        };
        let again = words.pick(
            format!("第 {} 次重新打开。", life.reopened),
            format!("Opened again, for the {} time.", ordinal(life.reopened)),
        );
        std::iter::once(line).chain((life.reopened > 0).then_some(again)).collect()
    }

    /// How the vendor gets at the room, and by whom.
    pub(super) fn access(&self) -> String {
        let (visit, words) = (&self.booking.visit, self.words);
        let access = match visit.access {
            Access::OnSite => words.pick("现场", "on site"),
            Access::Remote => words.pick("远程", "remote"),
            Access::Both => words.pick("现场或远程", "on site or remote"),
        };
        let escort = if visit.escort.is_empty() {
            String::new()
        } else {
            words.pick(format!("，由 {} 陪同", visit.escort), format!(", let in by {}", visit.escort))
        };
        format!("{access}{escort}")
    }

    /// What both sides confirm, and who has.
    pub(super) fn checklist(&self) -> impl Iterator<Item = String> {
        let (school, vendor) = self.words.pick(("校方", "维护方"), ("school", "vendor"));
        let mark = |done: bool, who: &str| if done { format!(" [{who} ✓]") } else { String::new() };
        let points = self.booking.life.checklist.iter().zip(1..);
        points.map(move |(point, number)| {
            format!("{number}. {}{}{}", point.text, mark(point.school, school), mark(point.vendor, vendor))
        })
    }

    /// How long the room is observed after the work.
    pub(super) fn observation(&self) -> String {
        let days = self.booking.visit.observe.0.as_secs() / 86_400;
        self.words.pick(format!("{days} 天"), format!("{days} days"))
    }

    /// What was wrong before.
    pub(super) fn recent(&self) -> impl Iterator<Item = String> {
        let words = self.words;
        self.booking.recent.iter().map(move |one| {
            let (kind, family) = (words.kind(one.kind), words.family(one.family));
            format!("{} {kind} {family}{}{}", self.instant(one.opened_at), words.comma, one.key)
        })
    }

    /// What the work has brought, by the numbers.
    pub(super) fn effect(&self) -> &'static str {
        let words = self.words;
        match self.booking.life.effect.as_ref().map(|effect| effect.verdict) {
            None => "",
            Some(Verdict::Solved) => words.pick("已解决", "solved"),
            Some(Verdict::NotSolved) => words.pick("未解决", "not solved"),
            Some(Verdict::Inconclusive) => words.pick("尚无定论", "inconclusive"),
            Some(Verdict::NotMeasurable) => words.pick("无法用指标衡量", "not measurable"),
        }
    }

    /// What was said since, the newest last.
    pub(super) fn notes(&self) -> impl Iterator<Item = String> {
        let (words, notes) = (self.words, &self.booking.life.notes);
        notes.iter().skip(notes.len().saturating_sub(MOST_NOTES)).map(move |note| {
            let who = match &note.by {
                By::Bellwether => "bellwether".to_owned(),
                By::School(_) => words.pick("学校", "school").to_owned(),
                By::Vendor(channel) => words.pick(format!("维护单位（{channel}）"), format!("vendor ({channel})")),
            };
            format!("{} {who}{}{}", self.instant(note.at), words.colon, note.text)
        })
    }
}

fn ordinal(count: u32) -> String {
    let end = match (count % 10, count % 100) {
        (1, hundred) if hundred != 11 => "st",
        (2, hundred) if hundred != 12 => "nd",
        (3, hundred) if hundred != 13 => "rd",
        _ => "th",
    };
    format!("{count}{end}")
}
