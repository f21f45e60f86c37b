//! What is to be done to each packet: a pure function of plan, seed, way, stream and the packet's number.

use fastrand::Rng;
use serde::Deserialize;

/// Nanoseconds.
pub(crate) type Nanos = i64;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the caller to the far end.
    Up,
    /// Back.
    Down,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What a datagram carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Audio,
    Video,
    /// Reports, checks, the handshake.
    Other,
}

impl Stream {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Other => "other",
        }
    }
}

/// The whole plan.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Plan {
    pub(crate) up: OneWay,
    pub(crate) down: OneWay,
    /// Checks and the handshake fare like sound, instead of passing untouched.
    pub(crate) everything: bool,
}

impl Plan {
    pub(crate) fn way(&self, way: Way) -> &OneWay {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }
}

/// One way of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct OneWay {
    audio: Path,
    video: Path,
    /// Media of both streams waits for its turn on a line of this rate.
    pub(crate) bits_per_second: Option<f64>,
}

/// What happens to one stream. Times within the call count from the first packet of the way.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Path {
    delay_ms: f64,
    /// A new route in the middle of the call.
    step: Option<Step>,
    /// Evenly distributed from 0 to this, on top; packets do not overtake each other by it.
    uniform_ms: f64,
    /// Standard deviation of a normal distribution round the delay; never below no delay.
    gaussian_ms: f64,
    /// Share lost at random.
    loss: f64,
    /// Losses in a row.
    burst: Option<Burst>,
    /// Share sent twice.
    duplicate: f64,
    /// Packets that others overtake.
    reorder: Option<Reorder>,
    /// Times in which all is lost.
    gaps: Vec<Gap>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    after_s: f64,
    delay_ms: f64,
}

/// Gilbert's model: all is lost in the bad state.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Burst {
    /// Probability to enter the bad state with a packet.
    enter: f64,
    /// Probability to leave it with one.
    leave: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reorder {
    share: f64,
    by_ms: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gap {
    after_s: f64,
    for_s: f64,
}

/// What happens to one packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fate {
    pub(crate) lost: bool,
    pub(crate) delay: Nanos,
    /// Others may overtake it.
    pub(crate) held: bool,
    pub(crate) doubled: bool,
}

/// The fates of one stream on one way, one after the other.
#[derive(Debug)]
pub(crate) struct Schedule {
    path: Path,
    random: Rng,
    bad: bool,
}

impl Schedule {
    /// The beginning of a stream's fates. Each stream of each way has a randomness of its own.
    pub(crate) fn new(plan: &Plan, way: Way, stream: Stream, seed: u64) -> Self {
        let one_way = plan.way(way);
        let path = match stream {
            Stream::Audio => one_way.audio.clone(),
            Stream::Video => one_way.video.clone(),
            Stream::Other if plan.everything => one_way.audio.clone(),
            // Reports are late as sound is, but arrive.
            Stream::Other => Path { delay_ms: one_way.audio.delay_ms, step: one_way.audio.step, ..Path::default() },
        };
        let mut seeds = Rng::with_seed(seed);
        let own = std::iter::repeat_with(|| seeds.u64(..)).nth(way as usize * 3 + stream as usize);
        Self { path, random: Rng::with_seed(own.unwrap_or(seed)), bad: false }
    }

    /// What happens to the next packet, `since` the first of the way. As much is drawn whatever the plan.
    pub(crate) fn next(&mut self, since: Nanos) -> Fate {
        let Path { delay_ms, step, uniform_ms, gaussian_ms, loss, burst, duplicate, reorder, gaps } = &self.path;
        let mut draw = || self.random.f64();
        let (even, angle, radius) = (draw(), draw(), draw());
        let (at_random, turn, twice, overtaken) = (draw(), draw(), draw(), draw());
        let seconds = since as f64 / 1e9;
        let base = step.filter(|step| seconds >= step.after_s).map_or(*delay_ms, |step| step.delay_ms);
        // Box and Muller's transform.
        let normal = (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
        let held = reorder.filter(|reorder| overtaken < reorder.share);
        let delay = base + even * uniform_ms + normal * gaussian_ms + held.map_or(0.0, |held| held.by_ms);
        if let Some(Burst { enter, leave }) = burst {
            self.bad = if self.bad { turn >= *leave } else { turn < *enter };
        }
        let in_gap = gaps.iter().any(|gap| (gap.after_s..gap.after_s + gap.for_s).contains(&seconds));
        Fate {
            lost: at_random < *loss || self.bad || in_gap,
            delay: (delay.max(0.0) * 1e6) as Nanos,
            held: held.is_some(),
            doubled: twice < *duplicate,
        }
    }
}

/// When packets of one way leave: those of a stream in the order they came, unless held, and all of them
/// one after the other if the line has a rate.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    latest: [Nanos; 3],
    free: Nanos,
}

impl Queue {
    /// When the packet that came `at` is to leave. Both on the same clock.
    pub(crate) fn due(&mut self, at: Nanos, stream: Stream, fate: &Fate, bytes: usize, rate: Option<f64>) -> Nanos {
        let latest = &mut self.latest[stream as usize];
        let mut due = at + fate.delay;
        if !fate.held {
            due = due.max(*latest);
        }
        if let Some(rate) = rate {
            due = due.max(self.free) + (bytes as f64 * 8e9 / rate) as Nanos;
            self.free = due;
        }
        if !fate.held {
            *latest = due;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    fn plan(text: &str) -> Plan {
        serde_json::from_str(text).expect("a plan")
    }

    fn fates(text: &str, way: Way, stream: Stream, seed: u64, count: Nanos) -> Vec<Fate> {
        let mut schedule = Schedule::new(&plan(text), way, stream, seed);
        (0..count).map(|i| schedule.next(i * 20 * MS)).collect()
    }

    fn share(fates: &[Fate], is: impl Fn(&Fate) -> bool) -> f64 {
        fates.iter().filter(|fate| is(fate)).count() as f64 / fates.len() as f64
    }

    #[test]
    fn the_same_seed_gives_the_same_fates_and_each_stream_of_each_way_its_own() {
        let text = r#"{"up": {"audio": {"loss": 0.5}, "video": {"loss": 0.5}}, "down": {"audio": {"loss": 0.5}}}"#;
        let of = |way, stream, seed| fates(text, way, stream, seed, 200);
        let up = of(Way::Up, Stream::Audio, 1);
        assert_eq!(up, of(Way::Up, Stream::Audio, 1));
        assert_ne!(up, of(Way::Up, Stream::Audio, 2));
        assert_ne!(up, of(Way::Up, Stream::Video, 1));
        assert_ne!(up, of(Way::Down, Stream::Audio, 1));
    }

    #[test]
    fn one_impairment_does_not_move_another() {
        let loss =
            |text| -> Vec<bool> { fates(text, Way::Up, Stream::Audio, 3, 500).iter().map(|fate| fate.lost).collect() };
        assert_eq!(
            loss(r#"{"up": {"audio": {"loss": 0.1}}}"#),
            loss(r#"{"up": {"audio": {"loss": 0.1, "uniform_ms": 20, "duplicate": 0.1}}}"#)
        );
    }

    #[test]
    fn shares_are_as_asked() {
        let text = r#"{"up": {"audio": {"loss": 0.05, "duplicate": 0.01, "reorder": {"share": 0.02, "by_ms": 30}}}}"#;
        let fates = fates(text, Way::Up, Stream::Audio, 5, 100_000);
        for (asked, share) in [
            (0.05, share(&fates, |fate| fate.lost)),
            (0.01, share(&fates, |fate| fate.doubled)),
            (0.02, share(&fates, |fate| fate.held)),
            (0.02, share(&fates, |fate| fate.delay == 30 * MS)),
        ] {
            assert!((share / asked - 1.0).abs() < 0.1, "{share}, not {asked}");
        }
    }

    #[test]
    fn bursts_are_as_long_and_as_frequent_as_the_model_says() {
        let text = r#"{"up": {"video": {"burst": {"enter": 0.01, "leave": 0.25}}}}"#;
        let lost: Vec<bool> = fates(text, Way::Up, Stream::Video, 6, 200_000).iter().map(|fate| fate.lost).collect();
        let runs = lost.windows(2).filter(|pair| pair[1] && !pair[0]).count() as f64;
        let losses = lost.iter().filter(|lost| **lost).count() as f64;
        assert!((losses / runs - 4.0).abs() < 0.2, "mean length {}", losses / runs);
        assert!((losses / 200_000.0 - 0.01 / 0.26).abs() < 0.003, "share {}", losses / 200_000.0);
    }

    #[test]
    fn delays_are_distributed_as_asked() {
        let of = |text| -> Vec<f64> {
            fates(text, Way::Down, Stream::Audio, 7, 50_000).iter().map(|fate| fate.delay as f64 / 1e6).collect()
        };
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let even = of(r#"{"down": {"audio": {"delay_ms": 10, "uniform_ms": 20}}}"#);
        assert!((mean(&even) - 20.0).abs() < 0.1 && even.iter().all(|delay| (10.0..=30.0).contains(delay)));
        let normal = of(r#"{"down": {"audio": {"delay_ms": 50, "gaussian_ms": 5}}}"#);
        let average = mean(&normal);
        let deviation = mean(&normal.iter().map(|delay| (delay - average).powi(2)).collect::<Vec<_>>()).sqrt();
        assert!((average - 50.0).abs() < 0.1 && (deviation - 5.0).abs() < 0.1, "{average} ± {deviation}");
    }

    #[test]
    fn steps_and_gaps_come_when_they_are_to() {
        let text = r#"{"up": {"audio": {"delay_ms": 10, "step": {"after_s": 1, "delay_ms": 50},
                       "gaps": [{"after_s": 2, "for_s": 0.1}]}}}"#;
        let fates = fates(text, Way::Up, Stream::Audio, 1, 200);
        let delays: Vec<Nanos> = fates.iter().map(|fate| fate.delay / MS).collect();
        assert_eq!((delays[49], delays[50], delays[199]), (10, 50, 50));
        let lost: Vec<usize> = (0..200).filter(|i| fates[*i].lost).collect();
        assert_eq!(lost, [100, 101, 102, 103, 104]);
    }

    #[test]
    fn reports_are_late_as_sound_is_but_fare_worse_only_with_everything() {
        let of = |everything: bool| {
            let text = format!(r#"{{"everything": {everything}, "up": {{"audio": {{"delay_ms": 9, "loss": 1}}}}}}"#);
            fates(&text, Way::Up, Stream::Other, 1, 1)[0]
        };
        assert_eq!((of(false).delay, of(false).lost), (9 * MS, false));
        assert_eq!((of(true).delay, of(true).lost), (9 * MS, true));
    }

    #[test]
    fn streams_stay_in_order_but_for_what_is_held() {
        let mut queue = Queue::default();
        let mut due = |at, stream, delay, held| {
            queue.due(at, stream, &Fate { lost: false, delay, held, doubled: false }, 100, None)
        };
        assert_eq!(due(0, Stream::Audio, 50, false), 50);
        assert_eq!(due(10, Stream::Audio, 5, false), 50, "it does not overtake");
        assert_eq!(due(10, Stream::Video, 5, false), 15, "nor does it wait for the other stream");
        assert_eq!(due(20, Stream::Audio, 500, true), 520);
        assert_eq!(due(30, Stream::Audio, 30, false), 60, "what is held is overtaken");
    }

    #[test]
    fn a_rate_makes_packets_wait_for_each_other() {
        let mut queue = Queue::default();
        let fate = Fate { lost: false, delay: 0, held: false, doubled: false };
        // 1000 bytes at 8 Mbit/s take 1 ms.
        let dues: Vec<Nanos> = [0, 0, 0, 10 * MS]
            .into_iter()
            .zip([Stream::Audio, Stream::Video, Stream::Video, Stream::Audio])
            .map(|(at, stream)| queue.due(at, stream, &fate, 1000, Some(8e6)))
            .collect();
        assert_eq!(dues, [MS, 2 * MS, 3 * MS, 11 * MS]);
    }

    #[test]
    fn a_plan_with_an_unknown_word_is_refused() {
        assert!(serde_json::from_str::<Plan>(r#"{"up": {"audio": {"dealy_ms": 1}}}"#).is_err());
    }
}
