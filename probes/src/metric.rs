//! The one vocabulary: every metric with its unit, polarity, family, scale and labels.
//!
//! A metric is exported as `bellwether_NAME_UNIT`; the same NAME stands in config
//! (`[metrics.NAME]`), in JSON and in booking texts. Nothing else may invent a name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::units::Unit;

/// Which direction is worse for the people in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// Larger is worse.
    Up,
    /// Smaller is worse.
    Down,
    /// Farther from zero is worse, on either side.
    AwayFromZero,
    /// Neither: the value is exported and shown, and cannot carry a limit.
    Neither,
}

/// How changes of a metric are compared, with the size a person would notice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Compared as a factor; the number is the material factor.
    Log(f64),
    /// Compared as a difference; the number is the material difference in base units.
    Linear(f64),
}

/// Metrics that degrade together and make one booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// The network between the box and the media server.
    Net,
    /// The picture.
    Video,
    /// The sound.
    Audio,
    /// Sound against picture.
    Sync,
    /// The box, its programs and the pages it serves.
    App,
}

impl Family {
    /// The word used in keys, JSON and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Net => "net",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Sync => "sync",
            Self::App => "app",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The names of labels. The set is closed: rooms and buildings are never labels of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// `uplink` or `downlink`; `both` where one connection is both.
    Leg,
    /// Part of a connection's setup or of a page's answer.
    Phase,
    /// `audio` or `video`.
    Stream,
    /// `receive`, `transmit`, `read`, `write`.
    Direction,
    /// `min`, `p50`, `p95`, `p99`, `mean`.
    Stat,
    /// A disk, network card, sensor.
    Device,
    /// A mount point.
    Mount,
    /// A classroom component or a named process.
    Component,
}

impl Label {
    /// The label's name on a series.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leg => "leg",
            Self::Phase => "phase",
            Self::Stream => "stream",
            Self::Direction => "direction",
            Self::Stat => "stat",
            Self::Device => "device",
            Self::Mount => "mount",
            Self::Component => "component",
        }
    }
}

/// What is known of a metric beside its values.
#[derive(Debug)]
pub struct Spec {
    /// Name without prefix and unit: `media_round_trip`.
    pub name: &'static str,
    /// Base unit of every value.
    pub unit: Unit,
    /// Direction that is worse.
    pub worse: Worse,
    /// Scale and material change.
    pub scale: Scale,
    /// Family of the booking it can cause.
    pub family: Family,
    /// Labels of its series beside `probe`.
    pub labels: &'static [Label],
    /// The one `stat` that limits judge, where the metric has several.
    pub judged_stat: Option<&'static str>,
    /// What it means, one sentence, as `# HELP` shows it.
    pub help: &'static str,
    /// The same for people who read Chinese.
    pub title_zh: &'static str,
}

macro_rules! metrics {
    ($($variant:ident $name:literal $unit:ident $worse:ident $scale:ident($material:literal) $family:ident
       [$($label:ident)*] $judged:expr, $zh:literal, $help:literal;)+) => {
        /// A metric. Its [`Spec`] says everything that is fixed about it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs, reason = "each variant is documented by its `help`")]
        pub enum Metric { $($variant),+ }

        impl Metric {
            /// All metrics, in the order of export.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Everything that is fixed about the metric.
            pub fn spec(self) -> &'static Spec {
                match self {
                    $(Self::$variant => &Spec {
                        name: $name,
                        unit: Unit::$unit,
                        worse: Worse::$worse,
                        scale: Scale::$scale($material),
                        family: Family::$family,
                        labels: &[$(Label::$label),*],
                        judged_stat: $judged,
                        help: $help,
                        title_zh: $zh,
                    }),+
                }
            }
        }
    };
}

metrics! {
    // The call. Delays are loops: from this box through the far end back to this box, on one clock.
    MediaSuccess "media_success" One Down Linear(1.0) Net [] None, "通话可用",
        "1 if the call connected and carried media that could be decoded, 0 if not.";
    MediaConnect "media_connect" Seconds Up Log(1.5) Net [] None, "通话接通时间",
        "Time from the start of the call until media can flow.";
    MediaSetup "media_setup" Seconds Up Log(1.5) Net [Phase] None, "接通各阶段时间",
        "Time of one phase of setting the call up.";
    MediaFirstFrame "media_first_frame" Seconds Up Log(1.5) Video [] None, "首帧时间",
        "Time from the start of the call until the first picture was decoded.";
    MediaFirstSound "media_first_sound" Seconds Up Log(1.5) Audio [] None, "首声时间",
        "Time from the start of the call until the first sound was decoded.";
    MediaRoundTrip "media_round_trip" Seconds Up Log(1.4) Net [Leg Stat] Some("p95"), "网络往返时间",
        "Round trip of connectivity checks to the far end; leg is both where one connection serves both ways.";
    MediaReportRoundTrip "media_report_round_trip" Seconds Up Log(1.4) Net [Stat] Some("p95"), "RTCP 往返时间",
        "Round trip of RTCP reports to the far end (RFC 3550).";
    MediaPacketDelay "media_packet_delay" Seconds Up Log(1.4) Net [Stream Stat] Some("p95"), "数据包环回时延",
        "Loop delay of media packets by kernel time stamps.";
    MediaAudioDelay "media_audio_delay" Seconds Up Log(1.3) Audio [Stat] Some("p95"), "声音环回时延",
        "Loop delay of sound from generation to decoding, codec delay removed.";
    MediaPlayoutDelay "media_playout_delay" Seconds Up Log(1.3) Audio [] None, "播放时延估计",
        "Estimate: smallest loop delay of sound plus a reference jitter buffer.";
    MouthToEar "mouth_to_ear" Seconds Up Linear(0.05) Audio [] None, "口到耳时延估计",
        "Estimate, one way: packetisation, half of the loop and a reference jitter buffer; sound devices not included.";
    MediaVideoDelay "media_video_delay" Seconds Up Log(1.3) Video [Stat] Some("p95"), "画面环回时延",
        "Loop delay of the picture from generation until it is whole again.";
    MediaNetworkRoundTrip "media_network_round_trip" Seconds Up Log(1.4) Net [Stat] Some("p95"), "媒体包网络往返时间",
        "Round trip of media packets to another box, without the time they stayed in it.";
    MediaReflectorDelay "media_reflector_delay" Seconds Up Log(1.5) Net [Stat] Some("p95"), "反射端停留时间",
        "Time that packets stayed in the box that reflected them.";
    MediaOneWayDelay "media_one_way_delay" Seconds Up Log(1.4) Net [Leg Stat] Some("p95"), "单程时延",
        "One-way delay to another box and back, right to within media_clock_uncertainty.";
    MediaOneWayDelayVariation "media_one_way_delay_variation" Seconds Up Log(1.5) Net [Leg Stat] Some("p95"), "单程时延变化",
        "One-way delay above the smallest of the call, to another box and back; the offset of clocks does not enter.";
    MediaClockUncertainty "media_clock_uncertainty" Seconds Neither Log(2.0) Net [] None, "时钟不确定度",
        "How far one-way delays may be off, as two clocks are not known better.";
    MediaJitter "media_jitter" Seconds Up Log(1.5) Net [Stream] None, "抖动",
        "Mean interarrival jitter as RFC 3550 defines it.";
    MediaDelayChange "media_delay_change" Seconds Up Log(1.5) Net [Stream] None, "相邻包时延差",
        "Mean difference between the delays of two packets sent one after the other (IPDV of RFC 5481).";
    MediaDelayVariation "media_delay_variation" Seconds Up Log(1.5) Net [Stream Stat] Some("p95"), "时延变化",
        "Packet delay variation above the smallest delay of the call (RFC 5481).";
    MediaLoss "media_loss" Ratio Up Linear(0.01) Net [Stream] None, "丢包率",
        "Share of packets missing before repair.";
    MediaReportedLoss "media_reported_loss" Ratio Up Linear(0.01) Net [Leg Stream] None, "分段丢包率",
        "Share of packets missing on the way to the far end, as it reports, and on the way back.";
    MediaResidualLoss "media_residual_loss" Ratio Up Linear(0.005) Net [Stream] None, "修复后丢包率",
        "Share of packets that never arrived, repair included.";
    MediaLatePackets "media_late_packets" Ratio Up Linear(0.005) Net [Stream] None, "迟到包比例",
        "Share of packets too late for the reference jitter buffer.";
    MediaRepairedPackets "media_repaired_packets" Ratio Up Linear(0.01) Net [Stream] None, "修复包比例",
        "Share of packets that arrived only after a repeat was asked for.";
    MediaReordering "media_reordering" Ratio Up Linear(0.005) Net [Stream] None, "乱序率",
        "Share of packets that arrived behind a later one (RFC 4737).";
    MediaReorderingExtent "media_reordering_extent" One Up Linear(2.0) Net [Stream] None, "乱序深度",
        "How many places at most a packet arrived behind the first later one (RFC 4737).";
    MediaDuplicates "media_duplicates" Ratio Up Linear(0.001) Net [Stream] None, "重复包比例",
        "Share of packets that arrived again without having been asked for (RFC 5560).";
    MediaBurstLoss "media_burst_loss" Ratio Up Linear(0.10) Net [Stream] None, "突发丢包率",
        "Largest share of packets missing before repair in any 200 ms.";
    MediaBurstDensity "media_burst_density" Ratio Up Linear(0.20) Net [Stream] None, "突发期丢包密度",
        "Share of packets missing before repair within bursts (RFC 3611); above one half losses are bursty.";
    MediaGapDensity "media_gap_density" Ratio Up Linear(0.01) Net [Stream] None, "间隙期丢包密度",
        "Share of packets missing before repair between bursts (RFC 3611).";
    MediaBurstLength "media_burst_length" One Up Log(2.0) Net [Stream] None, "突发长度",
        "Mean number of packets from the first to the last missing one of a burst (RFC 3611).";
    MediaLossRun "media_loss_run" One Up Linear(1.0) Net [Stream] None, "连续丢包长度",
        "Mean number of packets missing before repair in a row; above 2 losses are bursty.";
    MediaSkew "media_skew" Seconds AwayFromZero Linear(0.04) Sync [] None, "音画不同步",
        "Picture delay minus sound delay, codec constants removed; positive: sound early (BT.1359).";
    MediaMapSkew "media_map_skew" Seconds AwayFromZero Linear(0.04) Sync [] None, "音画映射偏差",
        "How early sound is played by the clock of the far end's RTCP sender reports, as receivers play it.";
    MediaFrameRate "media_frame_rate" Hertz Down Linear(3.0) Video [] None, "帧率",
        "New pictures decoded per second.";
    MediaFrameRatio "media_frame_ratio" Ratio Down Linear(0.10) Video [] None, "帧到达率",
        "Pictures decoded of pictures sent.";
    MediaRepeatedFrames "media_repeated_frames" Ratio Up Linear(0.02) Video [] None, "重复帧比例",
        "Share of decoded pictures that show nothing newer than those before.";
    MediaTornFrames "media_torn_frames" Ratio Up Linear(0.02) Video [] None, "撕裂帧比例",
        "Share of decoded pictures made up of parts of two.";
    MediaFreezes "media_freezes" One Up Linear(1.0) Video [] None, "卡顿次数",
        "Freezes during the call by the rule of W3C webrtc-stats.";
    MediaFreezeRatio "media_freeze_ratio" Ratio Up Linear(0.01) Video [] None, "卡顿时间占比",
        "Share of the call during which the picture was frozen.";
    MediaPauses "media_pauses" One Up Linear(1.0) Video [] None, "画面停顿次数",
        "Freezes of more than 5 s (W3C webrtc-stats).";
    MediaFreezesLibwebrtc "media_freezes_libwebrtc" One Up Linear(1.0) Video [] None, "卡顿次数 (libwebrtc)",
        "Freezes during the call as libwebrtc counts them, to compare with browsers.";
    MediaFreezeDurationLibwebrtc "media_freeze_duration_libwebrtc" Seconds Up Linear(0.2) Video [] None,
        "卡顿时长 (libwebrtc)", "Whole length of the freezes that libwebrtc counts.";
    MediaThroughput "media_throughput" BytesPerSecond Neither Log(2.0) Net [Stream Direction] None, "媒体吞吐",
        "Bytes of media sent or received per second, headers not included.";
    MediaKeyFrameInterval "media_key_frame_interval" Seconds Neither Log(1.5) Video [] None, "关键帧间隔",
        "Mean time between the key frames received.";
    MediaSenderLateness "media_sender_lateness" Seconds Neither Log(2.0) App [Stat] None, "本机发送滞后",
        "How late this box sent its own test signal.";
    MediaTimerOvershoot "media_timer_overshoot" Seconds Neither Log(2.0) App [Stat] None, "本机定时滞后",
        "How late a periodic 5 ms timer fired on this box during the call.";

    // Echo and room acoustics.
    EchoDelay "echo_delay" Seconds Up Linear(0.03) Audio [] None, "回声时延",
        "Time until sound that is played, here or at the far end of a call to the room, comes back.";
    EchoLoss "echo_loss" Decibels Down Linear(4.0) Audio [] None, "回声衰减",
        "How far below what it sends the far end of a call hears itself, 300 to 6700 Hz (3GPP TS 26.132 §8.7).";
    EchoInitialLoss "echo_initial_loss" Decibels Down Linear(6.0) Audio [] None, "初始回声衰减",
        "The same in the first 2 s, while the room's echo canceller still learns.";
    EchoLeastLoss "echo_least_loss" Decibels Down Linear(6.0) Audio [] None, "最小频带回声衰减",
        "Least loss of echo of a call in any third of an octave; below 6 dB the room may howl.";
    EchoImpairment "echo_impairment" One Up Linear(5.0) Audio [] None, "回声损伤",
        "Points of transmission rating that echo takes from a talker, by its delay and loss (Idte of ITU-T G.107).";
    EchoReturnLoss "echo_return_loss" Decibels Neither Linear(3.0) Audio [] None, "回声返回损耗",
        "Loss from loudspeaker to microphone, 300 to 3400 Hz (ITU-T G.122 Annex B.4).";
    EchoReturnLossWideband "echo_return_loss_wideband" Decibels Neither Linear(3.0) Audio [] None, "宽带回声返回损耗",
        "Loss from loudspeaker to microphone, 300 to 6700 Hz.";
    EchoReturnLossChange "echo_return_loss_change" Decibels AwayFromZero Linear(3.0) Audio [] None, "回声返回损耗变化",
        "Loss from loudspeaker to microphone above that of the accepted state, at the volumes of that.";
    EchoDelayChange "echo_delay_change" Seconds AwayFromZero Linear(0.02) Audio [] None, "回声时延变化",
        "Time from loudspeaker to microphone above that of the accepted state.";
    EchoDistortion "echo_distortion" Decibels Up Linear(6.0) Audio [] None, "谐波失真",
        "Harmonics of orders 2 to 5 against what is played, through loudspeaker, room and microphone.";
    EchoClockSkew "echo_clock_skew" Ratio AwayFromZero Linear(0.00005) Audio [] None, "声卡时钟偏差",
        "How much faster the clock of the microphone runs than that of the loudspeaker.";
    EchoReverberation "echo_reverberation" Seconds Up Linear(0.2) Audio [] None, "混响时间",
        "Reverberation time of the room (T20 of ISO 3382, mean of octaves 500 to 2000 Hz).";
    EchoCoherence "echo_coherence" Ratio Neither Linear(0.1) Audio [] None, "回声相干性",
        "Share of what the microphone takes that follows from what the room plays, 300 to 3400 Hz.";
    EchoNoiseFloor "echo_noise_floor" Decibels Neither Linear(6.0) Audio [] None, "本底噪声",
        "A-weighted level that 10 % of 125 ms fall below, relative to full scale.";
    EchoNoiseFloorRise "echo_noise_floor_rise" Decibels Up Linear(6.0) Audio [] None, "本底噪声升高",
        "Noise floor above that of the accepted state, at the volume of that.";
    EchoHum "echo_hum" Decibels Up Linear(10.0) Audio [] None, "工频哼声",
        "Level of 50 or 60 Hz and its harmonics above their neighbours, at its strongest.";
    EchoClipping "echo_clipping" Ratio Up Linear(0.001) Audio [] None, "麦克风削波",
        "Share of samples at which the microphone is at full scale while something is played.";
    EchoOffset "echo_offset" Ratio AwayFromZero Linear(0.01) Audio [] None, "麦克风直流偏置",
        "Mean of what the microphone gives, as a share of full scale.";
    MicrophoneWorking "microphone_working" One Down Linear(1.0) Audio [] None, "麦克风工作",
        "1 if the microphone takes sound, 0 if it is dead; absent where that is not sure.";
    LoudspeakerWorking "loudspeaker_working" One Down Linear(1.0) Audio [] None, "扬声器工作",
        "1 if what the loudspeaker plays is heard, 0 if it is dead; absent where that is not sure.";
    SoundMuted "sound_muted" One Up Linear(1.0) Audio [Component] None, "静音",
        "1 if the loudspeaker or the microphone is muted, 0 if not.";
    SoundDeviceChanged "sound_device_changed" One Up Linear(1.0) Audio [Component] None, "声音设备改变",
        "1 if the loudspeaker or the microphone is another device than in the accepted state, 0 if not.";
    SoundGainChange "sound_gain_change" Decibels AwayFromZero Linear(3.0) Audio [Component] None, "增益改变",
        "Gain of the loudspeaker or the microphone above that of the accepted state; absent where that is not sure.";

    // The box.
    CpuUtilization "cpu_utilization" Ratio Up Linear(0.12) App [] None, "CPU 使用率",
        "Busy share of all processors since the last run.";
    CpuBusiestCoreUtilization "cpu_busiest_core_utilization" Ratio Up Linear(0.12) App [] None, "最忙核心使用率",
        "Busy share of the busiest processor since the last run.";
    CpuSteal "cpu_steal" Ratio Up Linear(0.05) App [] None, "CPU 被抢占率",
        "Share of processor time taken by the hypervisor.";
    LoadAverage "load_average" One Up Log(1.5) App [] None, "系统负载",
        "Runnable and waiting tasks, averaged over one minute.";
    CpuPressure "cpu_pressure" Ratio Up Linear(0.10) App [] None, "CPU 压力",
        "Share of time in which some task waited for a processor.";
    MemoryPressure "memory_pressure" Ratio Up Linear(0.05) App [] None, "内存压力",
        "Share of time in which all tasks waited for memory.";
    IoPressure "io_pressure" Ratio Up Linear(0.05) App [] None, "磁盘压力",
        "Share of time in which all tasks waited for disks.";
    MemoryUtilization "memory_utilization" Ratio Up Linear(0.10) App [] None, "内存使用率",
        "Share of memory that is not available to programs.";
    SwapUtilization "swap_utilization" Ratio Up Linear(0.10) App [] None, "交换区使用率",
        "Used share of swap space.";
    DiskUtilization "disk_utilization" Ratio Up Linear(0.05) App [Mount] None, "磁盘使用率",
        "Used share of a file system.";
    DiskThroughput "disk_throughput" BytesPerSecond Neither Log(2.0) App [Device Direction] None, "磁盘吞吐",
        "Bytes read from or written to a disk per second.";
    NetworkThroughput "network_throughput" BytesPerSecond Neither Log(2.0) App [Device Direction] None, "网络吞吐",
        "Bytes received or transmitted by a network card per second.";
    NetworkErrors "network_errors" Ratio Up Linear(0.001) App [Device Direction] None, "网卡错误率",
        "Share of packets with errors on a network card.";
    Temperature "temperature" Celsius Up Linear(10.0) App [Device] None, "温度",
        "Temperature of a sensor.";
    Uptime "uptime" Seconds Neither Log(2.0) App [] None, "运行时间",
        "Time since the box was booted.";
    ProcessPresent "process_present" One Down Linear(1.0) App [Component] None, "进程存在",
        "1 if the named process runs, 0 if not.";
    ProcessCpu "process_cpu" Ratio Up Linear(0.25) App [Component] None, "进程 CPU",
        "Processor time of the named process, 1 being one whole processor.";
    ProcessMemory "process_memory" Bytes Up Log(1.5) App [Component] None, "进程内存",
        "Resident memory of the named process.";
    ProcessRestarts "process_restarts" One Up Linear(1.0) App [Component] None, "进程重启次数",
        "Starts of the named process seen since the last run.";

    // Pages.
    PageResponse "page_response" Seconds Up Log(1.2) App [] None, "页面响应时间",
        "Time from the start of the request until the whole page had arrived.";
    PageFetch "page_fetch" Seconds Up Log(1.2) App [Phase] None, "页面各阶段时间",
        "Time of one phase of fetching the page.";
    PageStatus "page_status" One Neither Linear(1.0) App [] None, "页面状态码",
        "HTTP status code of the page.";
    PageSuccess "page_success" One Down Linear(1.0) App [] None, "页面可用",
        "1 if the page answered with the expected status and text, 0 if not.";
    CertificateRemaining "certificate_remaining" Seconds Down Linear(86400.0) App [] None, "证书剩余时间",
        "Time until the page's certificate expires.";

    // The room's media server, as it tells of itself.
    ServiceUsers "service_users" One Neither Linear(1.0) App [] None, "媒体服务用户数",
        "How many users, or sessions where that is what its source counts, the room's media server has.";
    ServiceCpuUtilization "service_cpu_utilization" Ratio Up Linear(0.12) App [] None, "媒体服务器 CPU 使用率",
        "Busy share of all processors of the room's media server since the last run.";
    ServiceMemoryUtilization "service_memory_utilization" Ratio Up Linear(0.10) App [] None, "媒体服务器内存使用率",
        "Share of memory of the room's media server that is not available to programs.";
    ServiceNetworkReceive "service_network_receive" BytesPerSecond Neither Log(2.0) App [] None, "媒体服务器接收速率",
        "Bytes that the room's media server received per second since the last run.";
    ServiceNetworkTransmit "service_network_transmit" BytesPerSecond Neither Log(2.0) App [] None, "媒体服务器发送速率",
        "Bytes that the room's media server transmitted per second since the last run.";
}

impl Metric {
    /// The name without prefix and unit.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The name on `/metrics`.
    pub fn exported_name(self) -> String {
        let spec = self.spec();
        match spec.unit {
            Unit::One => format!("bellwether_{}", spec.name),
            // `…_ratio_ratio` would say the same twice.
            Unit::Ratio if spec.name.ends_with("_ratio") => format!("bellwether_{}", spec.name),
            unit => format!("bellwether_{}_{}", spec.name, unit.name()),
        }
    }
}

/// No metric has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0:?}, which is no metric{1}")]
pub struct UnknownMetric(String, String);

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(name: &str) -> Result<Self, UnknownMetric> {
        Self::ALL.iter().copied().find(|metric| metric.name() == name).ok_or_else(|| {
            let near = Self::ALL.iter().map(|metric| metric.name()).min_by_key(|known| distance(known, name));
            let hint =
                near.filter(|known| distance(known, name) <= 3).map(|known| format!("; did you mean {known:?}?"));
            UnknownMetric(name.to_owned(), hint.unwrap_or_default())
        })
    }
}

/// Levenshtein distance, for "did you mean".
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Metric {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_carry_no_unit() {
        let mut seen = HashSet::new();
        for metric in Metric::ALL {
            assert!(seen.insert(metric.name()), "{metric} stands twice");
            assert!(seen.insert(metric.spec().help), "{metric}: help stands twice");
            for unit in ["_seconds", "_bytes", "_percent", "_ms", "_hertz", "_celsius"] {
                assert!(!metric.name().ends_with(unit), "{metric} names its unit");
            }
        }
    }

    #[test]
    fn only_a_metric_with_stats_has_a_judged_stat() {
        for metric in Metric::ALL {
            let spec = metric.spec();
            if spec.judged_stat.is_some() {
                assert!(spec.labels.contains(&Label::Stat), "{metric}");
            }
        }
    }

    #[test]
    fn exported_names_end_in_the_base_unit_once() {
        assert_eq!(Metric::MediaRoundTrip.exported_name(), "bellwether_media_round_trip_seconds");
        assert_eq!(Metric::MediaFreezeRatio.exported_name(), "bellwether_media_freeze_ratio");
        assert_eq!(Metric::DiskThroughput.exported_name(), "bellwether_disk_throughput_bytes_per_second");
    }

    #[test]
    fn an_unknown_name_gets_a_hint() {
        let error = "media_round_tripp".parse::<Metric>().expect_err("misspelt");
        assert_eq!(
            error.to_string(),
            "found \"media_round_tripp\", which is no metric; did you mean \"media_round_trip\"?"
        );
        assert!(!"nonsense".parse::<Metric>().expect_err("unknown").to_string().contains("did you mean"));
    }
}
