//! How many sessions a Janus server has, by its Admin API: `list_sessions`, and nothing else.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

use super::host::Measured;
use crate::{Failure, Reason, secret::Secret};

/// What is posted. It holds the secret and is never shown.
pub(super) fn request(secret: &Secret, transaction: &str) -> String {
    json!({"janus": "list_sessions", "transaction": transaction, "admin_secret": secret.expose()}).to_string()
}

#[derive(Deserialize)]
struct Answer {
    janus: String,
    transaction: Option<String>,
    sessions: Option<Vec<IgnoredAny>>,
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    code: i64,
}

/// `JANUS_ERROR_UNAUTHORIZED` of Janus' `apierror.h`: missing or wrong secret.
const UNAUTHORIZED: i64 = 403;

/// How many sessions the answer to our request lists.
pub(super) fn sessions(text: &str, transaction: &str) -> Measured {
    let no_answer = || Failure::new(Reason::Parse, "the answer is not that of a Janus server's Admin API");
    let answer: Answer = serde_json::from_str(text).map_err(|_| no_answer())?;
    if let Some(Error { code }) = answer.error {
        // The reason in words may repeat what was asked, the secret included.
        return Err(match code {
            UNAUTHORIZED => Failure::new(Reason::NotPermitted, "Janus does not take the secret of admin_secret_file"),
            _ => Failure::new(Reason::Source, format!("Janus answers with error {code}")),
        });
    }
    let ours = answer.janus == "success" && answer.transaction.as_deref() == Some(transaction);
    answer.sessions.filter(|_| ours).map(|sessions| sessions.len() as f64).ok_or_else(no_answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_the_list_of_sessions() {
        let request: serde_json::Value = serde_json::from_str(&request(&Secret::new("s3cret"), "t1")).expect("JSON");
        assert_eq!(request, json!({"janus": "list_sessions", "transaction": "t1", "admin_secret": "s3cret"}));
    }

    #[test]
    fn sessions_are_counted_in_our_answer_alone() {
        let no_answer = Err(Reason::Parse);
        for (answer, expected) in [
            (r#"{"janus": "success", "transaction": "t1", "sessions": [7021, 18446744073709551615]}"#, Ok(2.0)),
            (r#"{"janus": "success", "transaction": "t1", "sessions": []}"#, Ok(0.0)),
            (r#"{"janus": "success", "transaction": "t2", "sessions": [1]}"#, no_answer),
            (r#"{"janus": "success", "sessions": [1]}"#, no_answer),
            (r#"{"janus": "success", "transaction": "t1"}"#, no_answer),
            (r#"{"janus": "success", "transaction": "t1", "sessions": 4}"#, no_answer),
            (r#"{"janus": "ack", "transaction": "t1", "sessions": [1]}"#, no_answer),
            (
                r#"{"janus": "error", "transaction": "t1", "error": {"code": 403, "reason": "Unauthorized request"}}"#,
                Err(Reason::NotPermitted),
            ),
            (r#"{"janus": "error", "error": {"code": 457, "reason": "Unhandled request"}}"#, Err(Reason::Source)),
            ("<html>", no_answer),
            ("", no_answer),
        ] {
            assert_eq!(sessions(answer, "t1").map_err(|failure| failure.reason), expected, "{answer}");
        }
    }
}
