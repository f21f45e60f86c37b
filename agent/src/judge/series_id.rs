//! The identity of a series as one text: the key of its state.

use bellwether_probes::{Label, Labels, Metric};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value},
};

/// `metric{probe="x",stat="p95"}`: the probe first, then the labels in their own order.
pub fn series_id(metric: Metric, probe: &str, labels: &Labels) -> String {
    let mut id = format!("{metric}{{probe=\"{}\"", escaped(probe));
    for (label, value) in labels.iter() {
        id += &format!(",{}=\"{}\"", label.name(), escaped(value));
    }
    id + "}"
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Takes apart what [`series_id`] wrote. `None` for anything else, such as a metric that this version
/// no longer has.
pub fn parse_series_id(id: &str) -> Option<(Metric, String, Labels)> {
    let (metric, rest) = id.strip_suffix('}')?.split_once('{')?;
    let metric: Metric = metric.parse().ok()?;
    let (probe, mut rest) = quoted(rest.strip_prefix("probe=")?)?;
    let mut labels = Labels::new();
    while !rest.is_empty() {
        let (name, value) = rest.strip_prefix(',')?.split_once('=')?;
        let name: value::StrDeserializer<'_, value::Error> = name.into_deserializer();
        let (value, after) = quoted(value)?;
        labels.insert(Label::deserialize(name).ok()?, value);
        rest = after;
    }
    Some((metric, probe, labels))
}

/// Reads a quoted value at the start of `text`; returns it and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, text.get(at + 1..)?)),
            (_, '\\') => value.push(chars.next()?.1),
            (_, plain) => value.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_readable_and_can_be_taken_apart() {
        let labels = Labels::from([(Label::Stat, "p95".to_owned()), (Label::Stream, "audio".to_owned())]);
        let id = series_id(Metric::MediaPacketDelay, "call", &labels);
        assert_eq!(id, "media_packet_delay{probe=\"call\",stream=\"audio\",stat=\"p95\"}");
        assert_eq!(parse_series_id(&id), Some((Metric::MediaPacketDelay, "call".to_owned(), labels)));
    }

    #[test]
    fn no_value_can_pass_for_another_series() {
        for mount in ["/", "C:\\", "a\"}", "\",stat=\"p95", "\\\"", "课件"] {
            let labels = Labels::from([(Label::Mount, mount.to_owned())]);
            let id = series_id(Metric::DiskUtilization, "box", &labels);
            assert_eq!(parse_series_id(&id), Some((Metric::DiskUtilization, "box".to_owned(), labels)), "{id}");
        }
    }

    #[test]
    fn what_is_no_identity_is_refused() {
        for id in [
            "",
            "media_loss",
            "media_loss{}",
            "gone{probe=\"x\"}",
            "media_loss{probe=\"x}",
            "media_loss{probe=\"x\",room=\"1\"}",
        ] {
            assert_eq!(parse_series_id(id), None, "{id}");
        }
    }
}
