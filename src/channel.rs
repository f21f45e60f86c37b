//! `channel check`: whether a channel can do what bookings need.

use bellwether_agent::channel::Channels;
use chrono::{DateTime, Utc};

/// Looks at a channel; the text, and the exit code: 0 if it will do, 1 if not.
pub async fn check(channels: &Channels, name: &str, now: DateTime<Utc>) -> (String, u8) {
    let findings = channels.check(name, true, now).await;
    let mut text = String::new();
    for finding in &findings {
        let line = match &finding.wrong {
            None => format!("ok      {}\n", finding.what),
            Some(wrong) => format!("WRONG   {}: {wrong}\n", finding.what),
        };
        text.push_str(&line);
    }
    (text, u8::from(findings.iter().any(|finding| finding.wrong.is_some())))
}
