//! Labels of a series as one text: `name=value`, sorted and joined by commas.

/// The text of some labels. A comma or backslash in a value is escaped by a backslash.
pub fn text<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace(',', "\\,");
    let mut labels: Vec<String> =
        labels.into_iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    labels.sort_unstable();
    labels.join(",")
}

/// The labels of a text. What has no `=` is left out.
pub fn parse(text: &str) -> Vec<(String, String)> {
    let (mut labels, mut label, mut chars) = (Vec::new(), String::new(), text.chars());
    let mut keep = |label: &mut String| {
        let label = std::mem::take(label);
        labels.extend(label.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    };
    while let Some(char) = chars.next() {
        match char {
            '\\' => label.extend(chars.next()),
            ',' => keep(&mut label),
            other => label.push(other),
        }
    }
    keep(&mut label);
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_labels_come_back_sorted() {
        let labels = [("stat", "p95"), ("mount", "/a,b=\\c"), ("probe", "call"), ("device", "")];
        let mut sorted: Vec<(String, String)> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        sorted.sort();
        assert_eq!(parse(&text(labels)), sorted);
        assert_eq!(text(labels), "device=,mount=/a\\,b=\\\\c,probe=call,stat=p95");
        assert_eq!(parse(""), []);
    }
}
