//! Units: parsed from config, shown to people, exported in base units.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The base unit of a metric. Values of a [`crate::Reading`] are always in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds; config accepts `250 ms`, `2 s`, `5 min`, `1 h`, `14 d`.
    Seconds,
    /// A share from 0 to 1; config accepts `3 %`.
    Ratio,
    /// Bytes; config accepts `64 KiB`, `2 GB`.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Events per second; frame rates.
    Hertz,
    /// Degrees Celsius.
    Celsius,
    /// A ratio of powers on a logarithmic scale, 10·log10; of levels the reference is full scale, whose sine
    /// has −3.01 dB.
    Decibels,
    /// A plain number: a count, a load average, a status code.
    One,
}

/// Why a text is no value of a unit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected a number in {unit}, such as {example}")]
pub struct UnitError {
    found: String,
    unit: &'static str,
    example: &'static str,
}

/// Accepted suffix, how many base units it is, and of how many equal parts: `95 %` is 95 × 1 / 100,
/// which is exact, where 95 × 0.01 is not.
type Suffixes = &'static [(&'static str, f64, f64)];

const TIME: Suffixes = &[
    ("s", 1.0, 1.0),
    ("ms", 1.0, 1e3),
    ("us", 1.0, 1e6),
    ("µs", 1.0, 1e6),
    ("min", 60.0, 1.0),
    ("h", 3600.0, 1.0),
    ("d", 86_400.0, 1.0),
];
const SHARE: Suffixes = &[("%", 1.0, 100.0)];
const SIZE: Suffixes = &[
    ("B", 1.0, 1.0),
    ("kB", 1e3, 1.0),
    ("MB", 1e6, 1.0),
    ("GB", 1e9, 1.0),
    ("KiB", 1024.0, 1.0),
    ("MiB", 1_048_576.0, 1.0),
    ("GiB", 1_073_741_824.0, 1.0),
];
const RATE: Suffixes = &[("B/s", 1.0, 1.0), ("kB/s", 1e3, 1.0), ("MB/s", 1e6, 1.0)];
const FREQUENCY: Suffixes = &[("Hz", 1.0, 1.0), ("fps", 1.0, 1.0)];
const HEAT: Suffixes = &[("°C", 1.0, 1.0), ("C", 1.0, 1.0)];
const LEVEL: Suffixes = &[("dB", 1.0, 1.0)];

impl Unit {
    /// The unit as JSON and people's tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Ratio => "ratio",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes_per_second",
            Self::Hertz => "hertz",
            Self::Celsius => "celsius",
            Self::Decibels => "decibels",
            Self::One => "",
        }
    }

    /// The suffixes, and an example for messages.
    fn suffixes(self) -> (Suffixes, &'static str) {
        match self {
            Self::Seconds => (TIME, "\"250 ms\""),
            Self::Ratio => (SHARE, "\"3 %\" or 0.03"),
            Self::Bytes => (SIZE, "\"64 KiB\""),
            Self::BytesPerSecond => (RATE, "\"2 MB/s\""),
            Self::Hertz => (FREQUENCY, "\"24 Hz\""),
            Self::Celsius => (HEAT, "\"80 °C\""),
            Self::Decibels => (LEVEL, "\"46 dB\""),
            Self::One => (&[], "4.5"),
        }
    }

    /// Reads `text` (`"250 ms"`, `"3%"`, `"0.25"`) into the base unit.
    pub fn parse(self, text: &str) -> Result<f64, UnitError> {
        let (suffixes, example) = self.suffixes();
        let error = || UnitError { found: text.to_owned(), unit: self.name(), example };
        let trimmed = text.trim();
        let split =
            trimmed.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(trimmed.len());
        let (number, suffix) = trimmed.split_at(split);
        let number: f64 = number.parse().map_err(|_| error())?;
        let suffix = suffix.trim();
        let (times, parts) = if suffix.is_empty() {
            (1.0, 1.0)
        } else {
            let (_, times, parts) = suffixes.iter().find(|(name, ..)| *name == suffix).ok_or_else(error)?;
            (*times, *parts)
        };
        Some(number * times / parts).filter(|value| value.is_finite()).ok_or_else(error)
    }

    /// Writes a value for people: `80.2 ms`, `1.3 %`, `412 MiB`.
    pub fn show(self, value: f64) -> String {
        // Each step: the least value that is shown in it, its factor, its suffix.
        let scaled = |steps: &[(f64, f64, &str)]| {
            let fits = |step: &&(f64, f64, &str)| value.abs() >= step.0;
            let (_, factor, suffix) = steps.iter().find(fits).or(steps.last()).copied().unwrap_or((1.0, 1.0, ""));
            format!("{} {suffix}", Short(value / factor))
        };
        match self {
            Self::Seconds => scaled(TIME_STEPS),
            Self::Ratio => format!("{} %", Short(value * 100.0)),
            Self::Bytes => scaled(BYTE_STEPS),
            Self::BytesPerSecond => scaled(BYTE_STEPS) + "/s",
            Self::Hertz => format!("{} Hz", Short(value)),
            Self::Celsius => format!("{} °C", Short(value)),
            Self::Decibels => format!("{} dB", Short(value)),
            Self::One => Short(value).to_string(),
        }
    }
}

const TIME_STEPS: &[(f64, f64, &str)] =
    &[(172_800.0, 86_400.0, "d"), (7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (1.0, 1.0, "s"), (0.0, 1e-3, "ms")];

const BYTE_STEPS: &[(f64, f64, &str)] = &[
    (1_073_741_824.0, 1_073_741_824.0, "GiB"),
    (1_048_576.0, 1_048_576.0, "MiB"),
    (1024.0, 1024.0, "KiB"),
    (0.0, 1.0, "B"),
];

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Three significant digits, without a tail of zeros.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        let decimals = match size {
            size if size >= 100.0 => 0,
            size if size >= 10.0 => 1,
            size if size >= 1.0 => 2,
            _ => 3,
        };
        let text = format!("{:.decimals$}", self.0);
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        f.write_str(if text == "-0" { "0" } else { text })
    }
}

/// A duration as config writes it: `"250 ms"`, `"5 min"`, or a number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Span(pub std::time::Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = deserializer.deserialize_any(Amount(Unit::Seconds))?;
        std::time::Duration::try_from_secs_f64(seconds)
            .map(Self)
            .map_err(|_| serde::de::Error::custom(format!("found {seconds}, expected a duration of 0 s or more")))
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

/// Reads a number in base units or a text with a unit, for the unit it holds.
pub struct Amount(pub Unit);

impl serde::de::Visitor<'_> for Amount {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value such as {}", self.0.suffixes().1)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<f64, E> {
        self.0.parse(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_each_unit_into_its_base() {
        let table = [
            (Unit::Seconds, "250 ms", 0.25),
            (Unit::Seconds, "2s", 2.0),
            (Unit::Seconds, "5 min", 300.0),
            (Unit::Seconds, "14 d", 1_209_600.0),
            (Unit::Seconds, "-40 ms", -0.04),
            (Unit::Ratio, "3 %", 0.03),
            (Unit::Ratio, "0.03", 0.03),
            (Unit::Bytes, "64 KiB", 65_536.0),
            (Unit::Celsius, "80 °C", 80.0),
            (Unit::One, "4.5", 4.5),
        ];
        for (unit, text, expected) in table {
            let got = unit.parse(text).expect(text);
            assert!((got - expected).abs() < 1e-12 * expected.abs().max(1.0), "{text}: {got}");
        }
    }

    #[test]
    fn refuses_what_is_no_value_of_the_unit() {
        for (unit, text) in [
            (Unit::Seconds, "5 %"),
            (Unit::Ratio, "3 ms"),
            (Unit::Seconds, "soon"),
            (Unit::One, "1 s"),
            (Unit::Seconds, ""),
        ] {
            assert!(unit.parse(text).is_err(), "{text}");
        }
        let message = Unit::Seconds.parse("5 %").expect_err("not a time").to_string();
        assert_eq!(message, "found \"5 %\", expected a number in seconds, such as \"250 ms\"");
    }

    #[test]
    fn shows_values_as_people_write_them() {
        let table = [
            (Unit::Seconds, 0.0802, "80.2 ms"),
            (Unit::Seconds, 1.5, "1.5 s"),
            (Unit::Seconds, 0.0, "0 ms"),
            (Unit::Seconds, 300.0, "5 min"),
            (Unit::Seconds, 864_000.0, "10 d"),
            (Unit::Ratio, 0.013, "1.3 %"),
            (Unit::Bytes, 432_013_312.0, "412 MiB"),
            (Unit::Hertz, 29.97, "30 Hz"),
            (Unit::One, 0.42, "0.42"),
        ];
        for (unit, value, expected) in table {
            assert_eq!(unit.show(value), expected);
        }
    }
}
