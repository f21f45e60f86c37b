//! The words of both languages.

use bellwether_probes::{Family, Spec};
use chrono::{DateTime, Datelike};
use chrono_tz::Tz;

use crate::{
    booking::{Kind, Severity},
    incident::Cause,
    judge::Level,
    site::Language,
};

/// Fixed words, and the sentences that differ by more than words.
pub(super) struct Words {
    language: Language,
    pub(super) open: &'static str,
    pub(super) close: &'static str,
    pub(super) after_mark: &'static str,
    pub(super) colon: &'static str,
    pub(super) comma: &'static str,
    pub(super) list_comma: &'static str,
    pub(super) incomplete: &'static str,
    pub(super) cancelled_mark: &'static str,
    pub(super) cancelled: &'static str,
    pub(super) recovered_mark: &'static str,
    pub(super) recovered: &'static str,
    pub(super) school: &'static str,
    pub(super) place: &'static str,
    pub(super) versions: &'static str,
    pub(super) contact: &'static str,
    pub(super) wanted: &'static str,
    pub(super) duration: &'static str,
    pub(super) kind: &'static str,
    pub(super) request: &'static str,
    pub(super) deployment: &'static str,
    pub(super) users: &'static str,
    pub(super) usage: &'static str,
    pub(super) evidence: &'static str,
    pub(super) not: &'static str,
    pub(super) again: &'static str,
    pub(super) clears: &'static str,
    pub(super) changes: &'static str,
    pub(super) metrics: &'static str,
    pub(super) hardware: &'static str,
    pub(super) vendor: &'static str,
    pub(super) zone: &'static str,
    pub(super) key: &'static str,
    weekdays: [&'static str; 7],
}

static CHINESE: Words = Words {
    language: Language::Chinese,
    open: "【",
    close: "】",
    after_mark: "",
    colon: "：",
    comma: "，",
    list_comma: "、",
    incomplete: "信息不完整，缺少",
    cancelled_mark: "已撤销",
    cancelled: "本预约已撤销：相关问题已消失，无需上门。",
    recovered_mark: "已恢复",
    recovered: "所有指标已恢复正常，恢复时间",
    school: "学校名称",
    place: "校区/教室",
    versions: "系统版本号",
    contact: "联系人/电话",
    wanted: "期望维护时间",
    duration: "预计时长",
    kind: "维护类型",
    request: "需求描述",
    deployment: "部署方式",
    users: "用户规模",
    usage: "使用场景",
    evidence: "近期问题",
    not: "已排除与未检查",
    again: "重复出现",
    clears: "恢复条件",
    changes: "近期版本变更",
    metrics: "关注指标与模块",
    hardware: "教室设备",
    vendor: "维护单位",
    zone: "以上时间的时区",
    key: "预约编号",
    weekdays: ["周一", "周二", "周三", "周四", "周五", "周六", "周日"],
};

static ENGLISH: Words = Words {
    language: Language::English,
    open: "[",
    close: "]",
    after_mark: " ",
    colon: ": ",
    comma: ", ",
    list_comma: ", ",
    incomplete: "Incomplete, missing",
    cancelled_mark: "withdrawn",
    cancelled: "This booking is withdrawn: the problem went away, no visit is needed.",
    recovered_mark: "recovered",
    recovered: "All metrics are back within their limits since",
    school: "School",
    place: "Campus/room",
    versions: "Versions",
    contact: "Contact",
    wanted: "Wanted times",
    duration: "Expected duration",
    kind: "Kind of maintenance",
    request: "Request",
    deployment: "Deployment",
    users: "Users at once",
    usage: "Usage",
    evidence: "Recent problems",
    not: "What it is not, and what was not examined",
    again: "Again",
    clears: "Clears",
    changes: "Recent version changes",
    metrics: "Metrics and modules",
    hardware: "Equipment",
    vendor: "Vendor",
    zone: "Time zone of the times above",
    key: "Booking key",
    weekdays: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
};

impl Words {
    pub(super) fn of(language: Language) -> &'static Self {
        match language {
            Language::Chinese => &CHINESE,
            Language::English => &ENGLISH,
        }
    }

    pub(super) fn pick<T>(&self, chinese: T, english: T) -> T {
        match self.language {
            Language::Chinese => chinese,
            Language::English => english,
        }
    }

    pub(super) fn severity(&self, severity: Severity) -> &'static str {
        match severity {
            Severity::Low => self.pick("低", "low"),
            Severity::Normal => self.pick("一般", "normal"),
            Severity::High => self.pick("高", "high"),
            Severity::Critical => self.pick("紧急", "critical"),
        }
    }

    pub(super) fn start_by(&self, severity: Severity) -> &'static str {
        match severity {
            Severity::Low => self.pick("下次例行维护时处理", "at the next regular visit"),
            Severity::Normal => self.pick("五个工作日内处理", "within five working days"),
            Severity::High => self.pick("一个工作日内处理", "within one working day"),
            Severity::Critical => self.pick("请在下一节课前处理", "before the next lesson"),
        }
    }

    pub(super) fn at_risk(&self, lesson: &str) -> String {
        self.pick(
            format!("课前检查时仍未恢复，影响 {lesson} 开始的课。"),
            format!("Still broken before the lesson of {lesson}."),
        )
    }

    pub(super) fn kind(&self, kind: Kind) -> &'static str {
        match kind {
            Kind::Fault => self.pick("故障维护", "fault"),
            Kind::UpgradeCheck => self.pick("升级验证", "upgrade check"),
            Kind::Capacity => self.pick("容量评估", "capacity"),
            Kind::Routine => self.pick("例行维护", "routine"),
            Kind::Security => self.pick("安全", "security"),
            Kind::Unsure => self.pick("待查", "unsure"),
        }
    }

    pub(super) fn family(&self, family: Family) -> &'static str {
        match family {
            Family::Net => self.pick("网络", "network"),
            Family::Video => self.pick("画面", "picture"),
            Family::Audio => self.pick("声音", "sound"),
            Family::Sync => self.pick("音画同步", "sound and picture in step"),
            Family::App => self.pick("设备与应用", "box and applications"),
        }
    }

    pub(super) fn level(&self, level: Level) -> &'static str {
        match level {
            Level::Pass => self.pick("已恢复正常", "back within its limit"),
            Level::Degraded => self.pick("超出限值", "beyond its limit"),
            Level::Critical => self.pick("严重超限", "beyond its critical limit"),
        }
    }

    pub(super) fn deployment<'a>(&self, word: &'a str) -> &'a str {
        match word {
            "on_premises" => self.pick("本地部署", "on premises"),
            "cloud" => self.pick("云端部署", "cloud"),
            "hybrid" => self.pick("混合部署", "hybrid"),
            other => other,
        }
    }

    pub(super) fn title(&self, spec: &'static Spec) -> String {
        self.pick(spec.title_zh, spec.name).replace('_', " ")
    }

    pub(super) fn now(&self, value: &str) -> String {
        self.pick(format!("当前 {value}"), format!("{value} now"))
    }

    pub(super) fn worst(&self, value: &str) -> String {
        self.pick(format!("最差 {value}"), format!("{value} at worst"))
    }

    pub(super) fn limit(&self, value: &str) -> String {
        self.pick(format!("限值 {value}"), format!("limit {value}"))
    }

    pub(super) fn since(&self, instant: &str) -> String {
        self.pick(format!("自 {instant} 起"), format!("since {instant}"))
    }

    pub(super) fn runs(&self, bad: u32, of: u32) -> String {
        self.pick(format!("最近 {of} 次检测中 {bad} 次超限"), format!("in {bad} of the last {of} runs"))
    }

    pub(super) fn minutes(&self, count: i64) -> String {
        self.pick(format!("{count} 分钟"), format!("{count} minutes"))
    }

    pub(super) fn fault_request(&self, family: Family, cause: Cause, beyond: usize, since: Option<&str>) -> String {
        let family = self.family(family);
        let request = match (beyond, since) {
            (_, None) => self.pick(format!("请检查{family}。"), format!("Please check: {family}.")),
            (0, Some(since)) => self.pick(
                format!("{family}自 {since} 起曾超出限值，目前已恢复，请查明原因。"),
                format!("{family}: beyond limits since {since}, at present back within them; please find the cause."),
            ),
            (count, Some(since)) => self.pick(
                format!("{family}有 {count} 项指标超限，自 {since} 起，请检查并修复。"),
                format!("{family}: {count} series beyond limits, since {since}; please check and repair."),
            ),
        };
        match cause {
            Cause::Room => request,
            Cause::Version => {
                request
                    + self.pick(
                        "疑由版本变更引起，建议暂缓推广该版本。",
                        " A version that was installed is the likely cause: please hold its rollout.",
                    )
            }
            Cause::Load => {
                request
                    + self.pick(
                        "同时在线人数超过服务器承载能力，请评估扩容。",
                        " More users than the media server bears are the cause: please look at its capacity.",
                    )
            }
            Cause::Service => {
                request + self.pick("疑由共用的服务引起。", " Something that the rooms share is the likely cause.")
            }
        }
    }

    pub(super) fn check_request(&self, component: &str) -> String {
        self.pick(
            format!("{component} 的版本已变更，请确认教室功能正常。"),
            format!("The version of {component} changed; please verify that the room works as it should."),
        )
    }

    /// What a key path of the config stands for.
    pub(super) fn missing(&self, path: &str) -> &'static str {
        match path {
            "school.name" => self.pick("学校名称", "name of the school"),
            "room.id" => self.pick("教室编号", "identifier of the room"),
            "room.name" => self.pick("教室名称", "name of the room"),
            "school.contact.name" => self.pick("联系人", "contact person"),
            "school.contact.phone" => self.pick("联系电话或邮箱", "telephone or mail address"),
            "versions" => self.pick("系统版本号", "versions"),
            "evidence" => self.pick("测量数据", "what was measured"),
            "channel" => self.pick("预约渠道", "a channel to send it by"),
            _ => self.pick("其他", "other"),
        }
    }
}

/// The day of the week.
pub(super) fn weekday(at: &DateTime<Tz>, words: &Words) -> &'static str {
    words.weekdays[at.weekday().num_days_from_monday() as usize]
}
