//! How losses crowd together: the worst 200 ms, and bursts and gaps after RFC 3611. A burst of losses is
//! heard and seen where the same number spread out would be concealed.

use chrono::{DateTime, Utc};

use super::{
    capture::{Nanos, Stream},
    identity::Packet,
};
use crate::{Label, Metric, Reading};

/// The window of burst loss, as Microsoft's targets for network quality have it.
const WINDOW: Nanos = 200_000_000;
/// Fewest packets of a window: of fewer a single one would be more than the tenth that is the target.
const FEWEST: usize = 10;
/// Packets received in a row that end a burst (RFC 3611 §4.7.2, Gmin as recommended there).
const GAP: usize = 16;

/// The worst window; density and mean length of bursts, density of gaps, and the mean number of packets
/// lost in a row: all of loss before repair. What there was none of reads 0.
pub(super) fn readings(ts: DateTime<Utc>, stream: Stream, packets: &[Packet]) -> Vec<Reading> {
    let all = packets.len();
    if all == 0 {
        return Vec::new();
    }
    let Bursts { all_lost, runs, bursts, length, lost } = bursts(packets.iter().map(Packet::missed));
    let mut readings = vec![
        (Metric::MediaBurstDensity, share(lost, length), length),
        (Metric::MediaGapDensity, share(all_lost - lost, all - length), all - length),
        (Metric::MediaBurstLength, share(length, bursts), bursts),
        (Metric::MediaLossRun, share(all_lost, runs), runs),
    ];
    readings.extend(worst_window(packets).map(|share| (Metric::MediaBurstLoss, share, all)));
    let reading = |(metric, value, n)| Reading::new(ts, metric, value, n as u64).with(Label::Stream, stream.name());
    readings.into_iter().map(reading).collect()
}

/// Of nothing it is nothing.
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The largest share lost in a window that begins with a packet and has enough of them. A window that
/// the end of sending cuts off by more than the usual time between two packets does not count.
fn worst_window(packets: &[Packet]) -> Option<f64> {
    let mut sent: Vec<(Nanos, bool)> = packets.iter().map(|packet| (packet.sent, packet.missed())).collect();
    sent.sort_unstable();
    let (first, last) = (sent.first()?.0, sent.last()?.0);
    let usual = (last - first) / (sent.len() as Nanos - 1).max(1);
    let mut worst: Option<f64> = None;
    let (mut end, mut lost) = (0, 0);
    for (start, (at, missed)) in sent.iter().enumerate() {
        while let Some((_, missed)) = sent.get(end).filter(|(next, _)| next - at < WINDOW) {
            lost += usize::from(*missed);
            end += 1;
        }
        if at + WINDOW > last + usual {
            break;
        }
        let within = end - start;
        if within >= FEWEST {
            let here = share(lost, within);
            worst = Some(worst.map_or(here, |worst| worst.max(here)));
        }
        lost -= usize::from(*missed);
    }
    worst
}

/// Losses by RFC 3611 §4.7.2.
#[derive(Debug, Default, PartialEq, Eq)]
struct Bursts {
    /// Packets that were lost.
    all_lost: usize,
    /// Runs of one or more lost packets without a received one between.
    runs: usize,
    /// Bursts: from a loss to a loss, with fewer than [`GAP`] received in a row between. A loss with as
    /// many received on both sides belongs to a gap.
    bursts: usize,
    /// Packets within bursts.
    length: usize,
    /// Packets lost within bursts.
    lost: usize,
}

fn bursts(lost: impl Iterator<Item = bool>) -> Bursts {
    let mut found = Bursts::default();
    // First and newest loss of the burst at hand, and how many it has.
    let mut open: Option<(usize, usize, usize)> = None;
    let close = |found: &mut Bursts, (first, newest, count): (usize, usize, usize)| {
        if count > 1 {
            found.bursts += 1;
            found.length += newest - first + 1;
            found.lost += count;
        }
    };
    for (i, _) in lost.enumerate().filter(|(_, lost)| *lost) {
        found.all_lost += 1;
        found.runs += usize::from(open.is_none_or(|(_, newest, _)| i - newest > 1));
        open = match open {
            Some((first, newest, count)) if i - newest <= GAP => Some((first, i, count + 1)),
            ended => {
                ended.into_iter().for_each(|ended| close(&mut found, ended));
                Some((i, i, 1))
            }
        };
    }
    open.into_iter().for_each(|ended| close(&mut found, ended));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{
        fixture::{MS, call, congruential, value},
        identity::packets,
    };

    fn near(got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "{got}, not {want}");
    }

    #[test]
    fn agrees_with_numpy_on_random_and_bursty_losses() {
        // Per mille of entering and of staying in loss; then packets lost, bursts, burst density, gap
        // density, mean length of a burst and of a run, from a vectorised reading of the same clauses.
        let table = [
            (1, 15_000, 30, 30, 502, 121, 0.210526315789474, 0.0135014836795252, 12.5619834710744, 1.05020920502092),
            (2, 15_000, 11, 667, 459, 92, 0.709677419354839, 0.00284504892096315, 6.40217391304348, 2.92356687898089),
            (3, 15_000, 4, 875, 383, 47, 0.95, 0.000205479452054795, 8.51063829787234, 7.36538461538461),
            (4, 500, 10, 10, 6, 0, 0.0, 0.012, 0.0, 1.0),
        ];
        for (seed, n, enter, stay, all_lost, count, density, gap, length, run) in table {
            let mut random = congruential(seed);
            let mut lost = false;
            let losses = (0..n).map(|_| {
                lost = random() % 1000 < if lost { stay } else { enter };
                lost
            });
            let found = bursts(losses);
            assert_eq!((found.all_lost, found.bursts), (all_lost, count), "seed {seed}");
            near(share(found.lost, found.length), density);
            near(share(found.all_lost - found.lost, n - found.length), gap);
            near(share(found.length, found.bursts), length);
            near(share(found.all_lost, found.runs), run);
        }
    }

    #[test]
    fn sixteen_received_in_a_row_end_a_burst_and_fifteen_do_not() {
        for (received, expected) in [(15, (1, 17, 2)), (16, (0, 0, 0))] {
            let losses = [vec![true], vec![false; received], vec![true]].concat();
            let found = bursts(losses.into_iter());
            assert_eq!((found.bursts, found.length, found.lost), expected, "{received}");
            assert_eq!((found.all_lost, found.runs), (2, 2));
        }
    }

    /// Worst share in 200 ms of a call of 10 s in which these sound packets are lost.
    fn worst(lost: impl Fn(u64) -> bool) -> f64 {
        let capture = call(10, |packet| (packet.stream == Stream::Video || !lost(packet.sequence)).then_some(80 * MS));
        let packets = packets(&capture, Stream::Audio).expect("they are ours");
        let readings = readings(capture.ended_at, Stream::Audio, &packets);
        value(&readings, Metric::MediaBurstLoss, &["audio"]).expect("ten seconds")
    }

    #[test]
    fn the_worst_window_is_found_wherever_it_is() {
        near(worst(|_| false), 0.0);
        near(worst(|s| s == 300), 0.1);
        near(worst(|s| (300..304).contains(&s)), 0.4);
        near(worst(|s| [300, 309].contains(&s)), 0.2);
        near(worst(|s| [300, 310].contains(&s)), 0.1);
        // The first and the last packet that count.
        near(worst(|s| s == 49), 0.1);
        near(worst(|s| s == 548), 0.1);
        near(worst(|s| s % 2 == 0), 0.5);
        near(worst(|_| true), 1.0);
    }

    #[test]
    fn a_stretch_shorter_than_the_window_has_no_worst_one() {
        let capture = call(10, |_| Some(80 * MS));
        let packets = packets(&capture, Stream::Audio).expect("they are ours");
        assert_eq!(worst_window(&packets[..9]), None);
        assert_eq!(worst_window(&packets[..10]), Some(0.0));
        assert_eq!(worst_window(&[]), None);
        let sparse: Vec<_> = packets.iter().copied().step_by(2).collect();
        assert_eq!(worst_window(&sparse), None, "five packets in 200 ms");
    }
}
