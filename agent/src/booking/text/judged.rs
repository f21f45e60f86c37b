//! What the decision engine says of a fault, in Chinese and in English: how far from health, how sure,
//! what it is not. A cause is ruled out only where it was tested; where it was not, that is said.

use super::words::Words;
use crate::incident::{Judgement, Shift};

/// What is said of a series that is far from what the room would read in health.
pub(super) fn shift(shift: &Shift, show: impl Fn(f64) -> String, words: &Words) -> Vec<String> {
    let Shift { before, now, material, bad, of, s, h, .. } = shift;
    let (before, now) = (show(*before), show(*now));
    if shift.path == "capacity" {
        let usual =
            words.pick(format!("{now}，通常繁忙时为 {before}"), format!("{now}, in a usual busy hour {before}"));
        return vec![usual];
    }
    let unit = if shift.path == "slow" { words.pick("日", "days") } else { words.pick("时", "hours") };
    let mut said = vec![
        words.pick(format!("{now}，健康时应为 {before}"), format!("{now}, in health it would be {before}")),
        words.pick(format!("相当于可察觉变化的 {material:.1} 倍"), format!("{material:.1} times what is material")),
        words.pick(format!("最近 {of} 个半小时中 {bad} 个偏差"), format!("off in {bad} of the last {of} half-hours")),
    ];
    if matches!(&*shift.path, "fast" | "slow") {
        let evidence = words
            .pick(format!("证据 {s:.1}（需 {h:.0}）物质{unit}"), format!("evidence {s:.1} of {h:.0} material-{unit}"));
        said.push(evidence);
    }
    if !shift.on {
        said.push(words.pick("已恢复正常", "back to what it would be in health").to_owned());
    }
    said
}

/// What was tested and is not the cause, and what was not tested.
pub(super) fn not(judgement: &Judgement, words: &Words) -> Vec<String> {
    let cause = |cause: &str| match cause {
        "load" => words.pick("负载", "the load"),
        "version" => words.pick("版本", "the version"),
        "building" => words.pick("楼宇", "the building"),
        _ => words.pick("共用服务", "the service"),
    };
    let mut said: Vec<String> = judgement
        .ruled_out
        .iter()
        .map(|out| {
            let because = words.pick(&out.because_zh, &out.because);
            words.pick(format!("不是{}：{because}", cause(&out.cause)), format!("not {}: {because}", cause(&out.cause)))
        })
        .collect();
    let tested = |name: &str| judgement.ruled_out.iter().any(|out| out.cause == name);
    let untested: Vec<&str> = ["load", "version"].into_iter().filter(|name| !tested(name)).map(cause).collect();
    if !untested.is_empty() {
        let untested = untested.join(words.list_comma);
        said.push(words.pick(
            format!("未能排除：{untested}（无可比数据）"),
            format!("not examined: {untested} (nothing to compare with)"),
        ));
    }
    if judgement.peers == 0 {
        said.push(
            words
                .pick(
                    "未比较：楼宇与共用服务（本机只了解本教室）",
                    "not examined: building and service (this box knows of no other rooms; peers: none)",
                )
                .to_owned(),
        );
    }
    said
}

/// That it was there before.
pub(super) fn again(judgement: &Judgement, words: &Words) -> String {
    match judgement.episodes {
        0 | 1 => String::new(),
        count => words.pick(format!("近期第 {count} 次出现"), format!("there for the {} time lately", nth(count))),
    }
}

/// What would clear it.
pub(super) fn clears(words: &Words) -> &'static str {
    words.pick(
        "偏差连续 18 小时小于可察觉变化的一半后视为恢复",
        "over once it has been off by less than half of what is material for 18 hours",
    )
}

fn nth(count: u32) -> String {
    match (count % 10, count % 100) {
        (1, rest) if rest != 11 => format!("{count}st"),
        (2, rest) if rest != 12 => format!("{count}nd"),
        (3, rest) if rest != 13 => format!("{count}rd"),
        _ => format!("{count}th"),
    }
}
