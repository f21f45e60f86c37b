//! The shape of `[metrics.NAME]` in the config.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// What follows from a series that is beyond its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Book {
    /// An incident, and so a booking.
    #[default]
    Maintenance,
    /// Nothing: it is judged and exported only.
    None,
}

/// `[metrics.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricConfig {
    /// Beyond it the series is degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitConfig>,
    /// Beyond it the series is critical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical_limit: Option<LimitConfig>,
    /// What a person would notice: a factor above 1 for a metric on a logarithmic scale, an amount in
    /// base units above 0 for the others. A number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub material: Option<ValueConfig>,
    /// What follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub book: Option<Book>,
    /// Probes for which it differs, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub probe: BTreeMap<String, Override>,
}

/// `[metrics.NAME.probe.PROBE]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Override {
    /// Beyond it the series is degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitConfig>,
    /// Beyond it the series is critical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical_limit: Option<LimitConfig>,
    /// What follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub book: Option<Book>,
}

/// A value in base units, a text with a unit, or a pair of them for a metric with two worse sides.
/// Its unit is checked when the rules are built, because only then the metric is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ValueConfig {
    /// In base units.
    Number(f64),
    /// With a unit, such as `"250 ms"`.
    Text(String),
    /// `[low, high]`.
    Pair(Vec<ValueConfig>),
}

impl fmt::Display for ValueConfig {
    /// As the config writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Pair(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A limit as the config writes it.
#[derive(Clone, Debug, PartialEq)]
pub enum LimitConfig {
    /// `false` or `"none"`: no limit, whatever the default is.
    Off,
    /// A bare value: `enter`, all else as by default.
    Enter(ValueConfig),
    /// A table.
    Table(LimitTable),
}

/// `{ enter, clear, bad, of, recover }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitTable {
    /// A run is bad beyond it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enter: Option<ValueConfig>,
    /// A run is good on its healthy side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clear: Option<ValueConfig>,
    /// So many of the last `of` runs must be bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad: Option<u32>,
    /// See `bad`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u32>,
    /// So many runs in a row must be good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recover: Option<u32>,
}

impl Serialize for LimitConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::Enter(value) => value.serialize(serializer),
            Self::Table(table) => table.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ValueConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for LimitConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LimitVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = ValueConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number in base units, a text with a unit such as \"250 ms\", or [low, high]")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<ValueConfig, E> {
        Ok(ValueConfig::Number(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<ValueConfig, E> {
        Ok(ValueConfig::Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<ValueConfig, E> {
        Ok(ValueConfig::Number(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ValueConfig, E> {
        Ok(ValueConfig::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<ValueConfig, A::Error> {
        let mut pair = Vec::new();
        while let Some(value) = values.next_element()? {
            pair.push(value);
        }
        Ok(ValueConfig::Pair(pair))
    }
}

struct LimitVisitor;

impl<'de> Visitor<'de> for LimitVisitor {
    type Value = LimitConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a table such as { enter = \"100 ms\", clear = \"80 ms\" }, or false for no limit")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<LimitConfig, E> {
        if value {
            return Err(E::custom("found true, expected false for no limit, or a value"));
        }
        Ok(LimitConfig::Off)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<LimitConfig, E> {
        ValueVisitor.visit_i64(value).map(LimitConfig::Enter)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<LimitConfig, E> {
        ValueVisitor.visit_u64(value).map(LimitConfig::Enter)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<LimitConfig, E> {
        ValueVisitor.visit_f64(value).map(LimitConfig::Enter)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<LimitConfig, E> {
        if text == "none" { Ok(LimitConfig::Off) } else { ValueVisitor.visit_str(text).map(LimitConfig::Enter) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<LimitConfig, A::Error> {
        ValueVisitor.visit_seq(values).map(LimitConfig::Enter)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<LimitConfig, A::Error> {
        LimitTable::deserialize(MapAccessDeserializer::new(map)).map(LimitConfig::Table)
    }
}
