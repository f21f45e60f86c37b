//! Judges maintenances for `tests/detection/version_bench.py`: one JSON object a line from standard input, its
//! effect as one JSON object a line to standard output.
//!
//! ```text
//! {"start": 0, "step": 1800000, "onset": …, "completed": …, "now": …, "material": 0.18, "reopened": false,
//!  "room": [0.01, null, …], "sisters": [[…], …]}
//! ```
//!
//! Instants and the step in milliseconds; load-adjusted half-hours from `start` on, `null` for none.

use std::io::{self, BufRead, Write};

use bellwether_agent::archive::effect::{HalfHour, Question, Room, judge};
use serde::Deserialize;

#[derive(Deserialize)]
struct Asked {
    start: i64,
    step: i64,
    onset: i64,
    completed: i64,
    now: i64,
    material: f64,
    reopened: bool,
    room: Vec<Option<f64>>,
    sisters: Vec<Vec<Option<f64>>>,
}

impl Asked {
    fn half_hours(&self, values: &[Option<f64>]) -> Vec<HalfHour> {
        let at = (self.start..).step_by(self.step.max(1) as usize);
        at.zip(values).filter_map(|(at, value)| Some(HalfHour { at, value: (*value)? })).collect()
    }
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let asked: Asked = serde_json::from_str(&line?)?;
        let room = asked.half_hours(&asked.room);
        let sisters: Vec<Vec<HalfHour>> = asked.sisters.iter().map(|values| asked.half_hours(values)).collect();
        let sisters: Vec<Room<'_>> = sisters.iter().map(|half_hours| Room { half_hours, anchor: None }).collect();
        let effect = judge(&Question {
            onset: asked.onset,
            completed: asked.completed,
            now: asked.now,
            reopened: asked.reopened,
            material: asked.material,
            room: Room { half_hours: &room, anchor: None },
            sisters: &sisters,
        });
        serde_json::to_writer(&mut out, &effect)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
