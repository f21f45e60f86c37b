//! One line of recorded history: a JSON object, read without allocating where it is as usual.
//!
//! What is unusual (escaped strings, nested values, exponents) is left to `serde_json`. The words
//! `NaN`, `Infinity` and `-Infinity`, which JSON does not have and some programs write, are values that
//! were not obtained, as `null` is.

use std::borrow::Cow;

use chrono::DateTime;

/// The most values of one line.
const MOST_VALUES: usize = 1024;

/// Why a line cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No JSON object.
    #[error("no JSON object")]
    Json,
    /// No time, or none that can be read.
    #[error("no time that can be read under `ts`")]
    Time,
    /// Neither a metric, nor values, nor an event.
    #[error("neither `metric`, `values` nor `event`")]
    Nothing,
    /// Something that an event needs is missing or cannot be read.
    #[error("an event without {0}")]
    Event(&'static str),
    /// Longer than any line should be.
    #[error("longer than {0} bytes")]
    Long(usize),
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line<'a> {
    /// Its time, in milliseconds since 1970.
    pub at: i64,
    /// Its labels.
    pub labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// What it says.
    pub item: Item<'a>,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    /// Values by metric; `None` if one was not obtained.
    Values(Vec<(Cow<'a, str>, Option<f64>)>),
    /// A value of low confidence, with the interval in which it is taken to be.
    Unsure {
        /// The metric.
        metric: Cow<'a, str>,
        /// The value.
        value: f64,
        /// Its interval.
        interval: (f64, f64),
    },
    /// What was kept of the values of a length of time that begins then.
    Block {
        /// The metric.
        metric: Cow<'a, str>,
        /// Their typical value; `None` if they were too few to be judged.
        value: Option<f64>,
        /// How long, in seconds.
        seconds: i64,
    },
    /// A component has another version.
    Version {
        /// The new version.
        to: Cow<'a, str>,
    },
    /// A lesson, in milliseconds since 1970.
    Lesson {
        /// Its begin.
        start: i64,
        /// Its end.
        end: i64,
    },
    /// What people did with a booking.
    Maintenance {
        /// What: confirm, start, done or accept.
        action: Cow<'a, str>,
        /// Name of the booking.
        booking: Cow<'a, str>,
    },
    /// An event of another kind.
    Other,
}

impl Default for Item<'_> {
    fn default() -> Self {
        Self::Values(Vec::new())
    }
}

impl Line<'_> {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_ref())
    }
}

/// Reads a line.
pub fn parse(bytes: &[u8]) -> Result<Line<'_>, Malformed> {
    let fields = match Fields::quick(bytes) {
        Some(fields) => fields,
        None => Fields::slow(bytes)?,
    };
    fields.line()
}

/// A value as it stands in a line.
#[derive(Clone, Debug, PartialEq)]
enum Field<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Null,
}

impl<'a> Field<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn time(&self) -> Option<i64> {
        match self {
            Self::Text(text) => time(text),
            Self::Number(seconds) if seconds.abs() < 1e11 => Some((seconds * 1000.0).round() as i64),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) if number.is_finite() => Some(*number),
            _ => None,
        }
    }
}

/// What was found in a line.
#[derive(Debug, Default)]
struct Fields<'a> {
    time: Option<i64>,
    metric: Option<Cow<'a, str>>,
    value: Option<Field<'a>>,
    validity: Option<Cow<'a, str>>,
    low: Option<f64>,
    high: Option<f64>,
    block: Option<f64>,
    values: Option<Vec<(Cow<'a, str>, Option<f64>)>>,
    labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    event: Option<Cow<'a, str>>,
    to: Option<Cow<'a, str>>,
    start: Option<i64>,
    end: Option<i64>,
    action: Option<Cow<'a, str>>,
    booking: Option<Cow<'a, str>>,
}

impl<'a> Fields<'a> {
    fn line(self) -> Result<Line<'a>, Malformed> {
        let at = self.time.ok_or(Malformed::Time)?;
        // What was measured and must not be judged is no value.
        let value = self.value.as_ref().and_then(Field::number);
        let value = value.filter(|_| self.validity.as_deref() != Some("inconclusive"));
        let item = match (self.event.as_deref(), self.values, self.metric) {
            (Some("version_change"), ..) => Item::Version { to: self.to.ok_or(Malformed::Event("`to`"))? },
            (Some("lesson"), ..) => Item::Lesson {
                start: self.start.ok_or(Malformed::Event("`start`"))?,
                end: self.end.ok_or(Malformed::Event("`end`"))?,
            },
            (Some("maintenance"), ..) => Item::Maintenance {
                action: self.action.ok_or(Malformed::Event("`action`"))?,
                booking: self.booking.ok_or(Malformed::Event("`booking`"))?,
            },
            (Some(_), ..) => Item::Other,
            (None, Some(values), _) => Item::Values(values),
            (None, None, Some(metric)) => match self.block {
                None if self.validity.as_deref() == Some("low_confidence") && value.is_some() => {
                    let value = value.unwrap_or_default();
                    let interval = (self.low.unwrap_or(value).min(value), self.high.unwrap_or(value).max(value));
                    Item::Unsure { metric, value, interval }
                }
                None => Item::Values(vec![(metric, value)]),
                Some(seconds) => {
                    let value = value.filter(|_| self.validity.as_deref() != Some("low_confidence"));
                    Item::Block { metric, value, seconds: seconds as i64 }
                }
            },
            (None, None, None) => return Err(Malformed::Nothing),
        };
        Ok(Line { at, labels: self.labels, item })
    }

    fn set(&mut self, key: &str, field: Field<'a>) {
        match key {
            "ts" => self.time = field.time(),
            "metric" => self.metric = field.text(),
            "value" => self.value = Some(field),
            "validity" => self.validity = field.text(),
            "low" => self.low = field.number(),
            "high" => self.high = field.number(),
            "block_s" => self.block = field.number(),
            "event" => self.event = field.text(),
            "to" => self.to = field.text(),
            "start" => self.start = field.time(),
            "end" => self.end = field.time(),
            "action" => self.action = field.text(),
            "booking" => self.booking = field.text(),
            _ => {}
        }
    }

    /// The usual line. `None` if it is not quite as usual.
    fn quick(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor { bytes, at: 0 };
        let mut fields = Self::default();
        cursor.expect(b'{')?;
        if cursor.peek()? == b'}' {
            return None;
        }
        loop {
            let key = cursor.text()?;
            cursor.expect(b':')?;
            match key {
                "labels" => cursor.object(|cursor, name| {
                    fields.labels.push((Cow::Borrowed(name), Cow::Borrowed(cursor.text()?)));
                    Some(())
                })?,
                "values" => {
                    let mut values = Vec::with_capacity(12);
                    cursor.object(|cursor, name| {
                        if values.len() >= MOST_VALUES {
                            return None;
                        }
                        values.push((Cow::Borrowed(name), cursor.scalar()?.number()));
                        Some(())
                    })?;
                    fields.values = Some(values);
                }
                _ => {
                    let field = cursor.scalar()?;
                    fields.set(key, field);
                }
            }
            match cursor.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        cursor.blank();
        (cursor.at == bytes.len()).then_some(fields)
    }

    /// Any line that is JSON.
    fn slow(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(bytes).map_err(|_| Malformed::Json)?;
        let mut fields = Self::default();
        let owned = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => Field::Text(Cow::Owned(text)),
            serde_json::Value::Number(number) => number.as_f64().map_or(Field::Null, Field::Number),
            _ => Field::Null,
        };
        for (key, value) in object {
            match (key.as_str(), value) {
                ("labels", serde_json::Value::Object(labels)) => {
                    let text = |(name, value)| Some((Cow::Owned(name), owned(value).text()?));
                    fields.labels = labels.into_iter().filter_map(text).collect();
                }
                ("values", serde_json::Value::Object(values)) => {
                    let number = |(name, value)| (Cow::Owned(name), owned(value).number());
                    fields.values = Some(values.into_iter().map(number).take(MOST_VALUES).collect());
                }
                (key, value) => fields.set(key, owned(value)),
            }
        }
        Ok(fields)
    }
}

/// A place in a line.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn blank(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.blank();
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// A string without escapes.
    fn text(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        if rest[length] != b'"' {
            return None;
        }
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).ok()
    }

    fn object(&mut self, mut entry: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let name = self.text()?;
            self.expect(b':')?;
            entry(self, name)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    fn scalar(&mut self) -> Option<Field<'a>> {
        match self.peek()? {
            b'"' => Some(Field::Text(Cow::Borrowed(self.text()?))),
            b'-' | b'0'..=b'9' => self.number(),
            _ => {
                let words: [&[u8]; 5] = [b"null", b"true", b"false", b"NaN", b"Infinity"];
                let word = words.into_iter().find(|word| self.bytes[self.at..].starts_with(word))?;
                self.at += word.len();
                Some(Field::Null)
            }
        }
    }

    fn number(&mut self) -> Option<Field<'a>> {
        let rest = &self.bytes[self.at..];
        if rest.starts_with(b"-Infinity") {
            self.at += 9;
            return Some(Field::Null);
        }
        let negative = rest[0] == b'-';
        let (mut digits, mut count, mut decimals) = (0_u64, 0, None);
        let mut length = usize::from(negative);
        loop {
            match rest.get(length) {
                Some(digit @ b'0'..=b'9') => {
                    digits = digits.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
                    count += 1;
                    decimals = decimals.map(|decimals| decimals + 1);
                }
                Some(b'.') if decimals.is_none() && count > 0 => decimals = Some(0),
                Some(b'.' | b'e' | b'E' | b'+' | b'-') => return None,
                _ => break,
            }
            length += 1;
        }
        let decimals: usize = decimals.unwrap_or(0);
        // Up to 15 digits both parts are exact, and so is the quotient to the last bit.
        if count == 0 || count > 15 || decimals == 0 && rest[length - 1] == b'.' {
            return None;
        }
        self.at += length;
        let value = digits as f64 / POWERS[decimals.min(15)];
        Some(Field::Number(if negative { -value } else { value }))
    }
}

/// Powers of ten, which are exact.
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// An instant in RFC 3339, in milliseconds since 1970.
fn time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'Z'] = bytes {
        let two = |a: &u8, b: &u8| {
            (a.is_ascii_digit() && b.is_ascii_digit()).then(|| i64::from(a - b'0') * 10 + i64::from(b - b'0'))
        };
        let (year, month, day) = (two(y1, y2)? * 100 + two(y3, y4)?, two(m1, m2)?, two(d1, d2)?);
        let (hour, minute, second) = (two(h1, h2)?, two(n1, n2)?, two(s1, s2)?);
        let valid = (1..=12).contains(&month) && (1..=28).contains(&day) && hour < 24 && minute < 60 && second < 60;
        if valid {
            return Some((((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000);
        }
    }
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis())
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Howard Hinnant, `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
