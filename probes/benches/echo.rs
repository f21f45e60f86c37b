//! How long the analyses of a take of the echo probe last: an active form is to be analysed within a second
//! of one core.

#![allow(missing_docs, reason = "a benchmark")]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "modules of the crate, of which only some is measured")]

use bellwether_probes::Reason;
use criterion::{Criterion, criterion_group, criterion_main};

use echo::{
    active::analyse,
    room::{Room, converted, pink, with},
    signal::Sweeps,
    take::{Device, Devices, Line, Take},
};

/// The analyses are no part of the crate's interface, so they are taken by their files.
#[path = "../src/echo"]
mod echo {
    pub(crate) const RATE: u32 = 48_000;

    pub(crate) mod active;
    mod bands;
    mod distortion;
    mod findings;
    mod floor;
    mod liveness;
    mod response;
    mod reverberation;
    pub(crate) mod room;
    mod scratch;
    pub(crate) mod signal;
    mod skew;
    mod spacing;
    mod spectrum;
    pub(crate) mod take;
}

fn takes(criterion: &mut Criterion) {
    let device =
        |name: &str| Device { name: name.to_owned(), muted: false, volume_decibels: None, is_processed: false };
    let devices = Devices { loudspeaker: device("loudspeaker"), microphone: device("microphone") };
    let forms = [
        ("active", Sweeps { count: 4, level: -20.0, reverberation: false }, -60.0),
        ("active, with the reverberation time", Sweeps { count: 4, level: -20.0, reverberation: true }, -60.0),
        ("quiet", Sweeps { count: 16, level: -50.0, reverberation: false }, -55.0),
    ];
    let mut group = criterion.benchmark_group("echo");
    group.sample_size(10);
    for (name, sweeps, noise) in forms {
        let mut played = vec![0; sweeps.length()];
        sweeps.play(0, &mut played);
        let samples: Vec<f64> = played.iter().map(|x| f64::from(*x) / 32_768.0).collect();
        let heard = Room::new(0.08, 20.0, 1).hear(&samples);
        let heard = converted(&with(&heard, &pink(heard.len(), 1), noise));
        let line = |samples| Line { samples, start: 0.0 };
        let take = Take { microphone: line(&heard), reference: Some(line(&played)), slips: 0, devices: &devices };
        group.bench_function(name, |bencher| bencher.iter(|| analyse(&take, &sweeps)));
    }
    group.finish();
}

criterion_group!(benches, takes);
criterion_main!(benches);
