//! What the closed words of a result mean, and what to do about them, in both languages.

use bellwether_agent::{
    judge::{Level, Stage},
    site::Language,
};
use bellwether_probes::{Class, Reason};

fn pick(language: Language, (english, chinese): (&'static str, &'static str)) -> &'static str {
    match language {
        Language::English => english,
        Language::Chinese => chinese,
    }
}

/// What a reason means.
pub(super) fn reason(reason: Reason, language: Language) -> &'static str {
    let words = match reason {
        Reason::HostLimited => ("this box was too busy to measure exactly", "本机过于繁忙，无法准确测量"),
        Reason::ClockStep => ("the clock of this box was set during the run", "测量期间本机时钟被调整"),
        Reason::FewSamples => ("too few samples for a sure value", "样本太少，数值仅供参考"),
        Reason::Timeout => ("it did not end in time", "未能在规定时间内完成"),
        Reason::Cancelled => ("it was ended early", "提前结束"),
        Reason::Worker => ("the process that makes the call failed", "执行通话的进程出错"),
        Reason::Signalling => ("the far end did not take the call", "对端未接受通话"),
        Reason::Ice => ("no way for media between this box and the far end", "本机与对端之间无法建立媒体通道"),
        Reason::Dtls => ("encryption could not be agreed upon", "加密协商失败"),
        Reason::FirstRtp => ("the call connected, and nothing came back", "通话已接通，但没有收到任何媒体"),
        Reason::Undecodable => ("what came back is not our test signal", "收到的不是本机发出的测试信号"),
        Reason::Transcode => ("the far end codes anew, so single packets tell nothing", "对端重新编码，无法逐包测量"),
        Reason::Bounded => ("less was sent than configured", "发送量低于配置，以免占用过多资源"),
        Reason::Resolve => ("the host name is not known here", "无法解析主机名"),
        Reason::Connect => ("nobody answers at that address", "该地址无人应答"),
        Reason::Tls => ("no trusted HTTPS connection", "无法建立可信的 HTTPS 连接"),
        Reason::Http => ("the answer was no HTTP", "应答不是有效的 HTTP"),
        Reason::TooLarge => ("the answer was larger than is read", "应答超过允许的大小"),
        Reason::Source => ("a file or source could not be read", "文件或数据源无法读取"),
        Reason::Parse => ("a source held no value", "数据源中没有有效的值"),
        Reason::NotPermitted => ("the system does not let us look", "系统不允许读取"),
        Reason::NoServer => ("no sound server answers", "没有可用的声音服务"),
        Reason::NoDevice => ("there is no such loudspeaker or microphone", "找不到指定的扬声器或麦克风"),
        Reason::DeviceBusy => ("somebody else holds the sound device", "声音设备被其他程序占用"),
        Reason::DeviceLost => ("a sound device went away meanwhile", "测量期间声音设备消失"),
        Reason::Stalled => ("a sound device or server stood still", "声音设备或服务停止响应"),
        Reason::Format => ("sound did not come as agreed upon", "声音格式与约定不符"),
        Reason::Slip => ("sound was lost or shifted inside of this box", "本机内部的声音有丢失或错位"),
        Reason::Muted => ("loudspeaker or microphone is muted", "扬声器或麦克风已静音"),
        Reason::Dead => ("loudspeaker or microphone is dead", "扬声器或麦克风没有声音"),
        Reason::Noise => ("the echo cannot be told from the noise", "回声无法与噪声区分"),
        Reason::Clipped => ("the microphone is overdriven", "麦克风信号过强，已削波"),
        Reason::NothingPlayed => ("the room plays too little to come back", "房间内播放的声音太少"),
    };
    pick(language, words)
}

/// What a person can do when a run failed, or cannot be judged, for this reason. `detail` is what the failure
/// says of itself: the status with which a server refuses tells what to look at.
pub(super) fn advice(reason: Reason, detail: &str, language: Language) -> Option<&'static str> {
    let words = match reason {
        Reason::HostLimited => ("repeat it when the box has less to do", "请在本机空闲时重新测量"),
        Reason::ClockStep | Reason::Cancelled => ("repeat it", "请重新测量"),
        Reason::Worker => ("repeat it with --log debug", "请加上 --log debug 重新测量"),
        Reason::Timeout => (
            "check that the server answers; a longer `timeout` gives it more time",
            "请确认服务器有应答；可在配置中加大 timeout",
        ),
        Reason::Signalling => refused(detail),
        Reason::Ice => (
            "let UDP pass between this box and the server, or name a TURN server in ice_servers",
            "请放行本机与服务器之间的 UDP，或在 ice_servers 中配置 TURN 服务器",
        ),
        Reason::Dtls => (
            "see the server's log; a firewall between may let checks pass and hold the handshake",
            "请查看服务器日志；中间的防火墙可能拦截了握手报文",
        ),
        Reason::FirstRtp => (
            "check that what is published is what is subscribed to, and that the firewall lets UDP back",
            "请确认发布与订阅的是同一路媒体，且防火墙放行返回的 UDP",
        ),
        Reason::Undecodable => (
            "check that what is published is what is subscribed to, and that nobody else publishes there",
            "请确认发布与订阅的是同一路媒体，且没有其他人在此发布",
        ),
        Reason::Resolve => {
            ("check how the host name is written, and the DNS of this box", "请检查主机名的拼写和本机的 DNS")
        }
        Reason::Connect => (
            "check address and port, that the server runs, and the firewall",
            "请检查地址和端口、服务器是否运行以及防火墙",
        ),
        Reason::Tls => (
            "check the server's certificate; a CA of the school's own is named by ca_file",
            "请检查服务器证书；学校自建的 CA 用 ca_file 指定",
        ),
        Reason::Http | Reason::TooLarge => ("check the address", "请检查地址"),
        Reason::Source => ("check what is named there in the config", "请检查配置中的对应项"),
        Reason::Bounded => (
            "`link_share` and `cpu_share` say how much a call may take",
            "通话占用的上限由 link_share 和 cpu_share 决定",
        ),
        Reason::NoServer => (
            "log in at the box, or let the session's server open a socket for bellwether (see OPERATING.md); `server` names it",
            "请在本机登录，或让会话的声音服务为 bellwether 开放套接字（见 OPERATING.md），并用 server 指定",
        ),
        Reason::NoDevice => {
            ("check loudspeaker, microphone and reference", "请检查 loudspeaker、microphone 和 reference")
        }
        Reason::DeviceBusy => {
            ("end the program that holds it, or go by its sound server", "请关闭占用设备的程序，或通过声音服务访问")
        }
        Reason::DeviceLost => ("check the plug, and the log of the sound server", "请检查接线和声音服务的日志"),
        Reason::Stalled => ("check that the sound server runs, and its log", "请确认声音服务正在运行，并查看其日志"),
        Reason::Format => (
            "name another device, or go by a sound server, which converts",
            "请换用其他设备，或使用可转换格式的声音服务",
        ),
        Reason::Slip => ("repeat it when the box has less to do", "请在本机空闲时重新测量"),
        Reason::Muted => ("unmute it and repeat", "请取消静音后重新测量"),
        Reason::Dead => ("check power, plugs and switches of both", "请检查两者的电源、接线和开关"),
        Reason::Noise => ("repeat it when the room is quieter", "请在房间较安静时重新测量"),
        Reason::Clipped => ("lower the gain of the microphone, or `level`", "请降低麦克风增益或 level"),
        Reason::NothingPlayed => ("repeat it while the room plays something", "请在房间播放声音时重新测量"),
        Reason::FewSamples | Reason::Transcode | Reason::Parse | Reason::NotPermitted => return None,
    };
    Some(pick(language, words))
}

/// What to do where a far end does not take the call, by the status it answers with.
fn refused(detail: &str) -> (&'static str, &'static str) {
    let status = detail.split_once("found status ").and_then(|(_, rest)| rest.get(..3)).unwrap_or_default();
    match status {
        "401" | "403" => {
            ("check token_file: the server does not take the token", "请检查 token_file：服务器不接受该令牌")
        }
        "404" | "409" => (
            "check the path of the address, and that the room or stream is there on the server",
            "请检查地址中的路径，以及服务器上是否有该房间或媒体流",
        ),
        _ if status.starts_with('5') => ("see the server's log", "请查看服务器日志"),
        _ => (
            "check kind and address of far_end, and see the server's log",
            "请检查 far_end 的类型和地址，并查看服务器日志",
        ),
    }
}

/// What a far end of this class does.
pub(super) fn class(class: Class, language: Language) -> &'static str {
    let words = match class {
        Class::Forward => ("comes back packet by packet as it was sent", "逐包原样转发"),
        Class::Repacketise => ("comes back as it was sent, in other packets", "内容不变，重新打包"),
        Class::Transcode => ("was coded anew by the far end", "由对端重新编码"),
    };
    pick(language, words)
}

/// Where a stage of a call is.
pub(super) fn stage(stage: Stage, language: Language) -> &'static str {
    let words = match stage {
        Stage::HostLimited => ("this box itself was too busy", "本机过于繁忙"),
        Stage::Uplink => ("the way from this box to the far end", "本机到对端的上行链路"),
        Stage::Server => ("the far end itself", "对端服务器"),
        Stage::Downlink => ("the way back from the far end", "对端到本机的下行链路"),
        Stage::Unknown => ("no reading tells which", "现有数据无法判断"),
    };
    pick(language, words)
}

/// What a verdict says of the room; of `None`, that it could not be told.
pub(super) fn verdict(level: Option<Level>, language: Language) -> &'static str {
    let words = match level {
        Some(Level::Pass) => ("everything is within its limits", "各项指标均在限值内"),
        Some(Level::Degraded) => ("something is beyond its limit", "有指标超出限值"),
        Some(Level::Critical) => ("something is beyond its critical limit", "有指标严重超限"),
        None => ("it could not be told", "无法判断"),
    };
    pick(language, words)
}

/// What the statistics in the table are.
pub(super) fn statistics(language: Language) -> &'static str {
    pick(
        language,
        (
            "p50, p95, p99: so many percent of all that was measured are at or below this",
            "p50、p95、p99：该百分比的测量值不超过此值",
        ),
    )
}

/// Why a probe did not run, and how it would.
pub(super) fn left_out(probe: &str, language: Language) -> String {
    match language {
        Language::English => format!("not run: it is heard in the room; `bellwether inspect {probe}` runs it"),
        Language::Chinese => format!("未运行：会在教室内发出声音；可用 bellwether inspect {probe} 运行"),
    }
}

/// What a call to the embedded far end is.
pub(super) fn self_test(language: Language) -> &'static str {
    pick(
        language,
        (
            "to the embedded far end: a self-test of this box, which says nothing of network and server",
            "对端为内置反射器：仅为本机自检，不反映网络和服务器",
        ),
    )
}
