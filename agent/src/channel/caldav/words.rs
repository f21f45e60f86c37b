//! What the vendor's people read in an entry, and the words that they can answer with.
//!
//! A calendar knows tentative, confirmed and cancelled, and some programs show not even that. So an answer can
//! also be a word in brackets before the title, or a category; and below a line of the description there is
//! room for notes, which no update touches.

use crate::site::Language;

/// A word by which somebody marks an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Somebody comes.
    Confirmed,
    /// Nobody comes.
    Refused,
    /// The work is done.
    Done,
}

/// The words, in small letters.
const WORDS: [(Mark, &[&str]); 3] = [
    (Mark::Confirmed, &["confirmed", "确认", "已确认"]),
    (Mark::Refused, &["declined", "拒绝", "已拒绝"]),
    (Mark::Done, &["done", "completed", "完成", "已完成"]),
];

/// What stands on the line above the vendor's notes, in each language.
const LINES: [&str; 2] = ["以下由维护方填写", "vendor's notes below this line"];

/// Longest notes that are kept, in characters.
const MAX_NOTES: usize = 4_000;

/// The mark that a word is.
pub(super) fn mark(word: &str) -> Option<Mark> {
    let word = word.trim().to_lowercase();
    WORDS.iter().find(|(_, words)| words.contains(&&word[..])).map(|(mark, _)| *mark)
}

/// The marks in brackets before a title, each with its text; brackets that are none are passed over.
pub(super) fn marks(title: &str) -> Vec<(Mark, &str)> {
    let (mut found, mut rest) = (Vec::new(), title.trim_start());
    while let Some(open) = rest.chars().next().filter(|c| matches!(c, '[' | '【')) {
        let Some(end) = rest.find([']', '】']) else { break };
        let close = rest.get(end..).and_then(|tail| tail.chars().next()).map_or(0, char::len_utf8);
        let (inside, whole) = (rest.get(open.len_utf8()..end), rest.get(..end + close));
        if let (Some(mark), Some(whole)) = (inside.and_then(mark), whole) {
            found.push((mark, whole));
        }
        rest = rest.get(end + close..).unwrap_or_default().trim_start();
    }
    found
}

/// A title of ours that does not answer for the vendor, whatever a school's template or name puts first.
pub(super) fn unmarked(title: String) -> String {
    if marks(&title).is_empty() { title } else { format!("· {title}") }
}

/// The notes of a description: what stands below the line for them; `None` if there is no such line.
pub(super) fn notes(description: &str) -> Option<&str> {
    let found = LINES.iter().filter_map(|line| description.find(line).map(|at| at + line.len())).min()?;
    let rest = description.get(found..).unwrap_or_default();
    // The rest of the line is its ornament.
    Some(rest.split_once('\n').map_or("", |(_, below)| below).trim())
}

/// A description with these notes below its line for them.
pub(super) fn with_notes(description: &str, notes: &str) -> String {
    let notes: String = notes.chars().take(MAX_NOTES).collect();
    format!("{}\n{notes}", description.trim_end())
}

/// A description for the vendor's calendar: the booking's text, how to answer it, and a line for notes.
pub(super) fn description(body: &str, is_open: bool, language: Language) -> String {
    let how = match (language, is_open) {
        (_, false) => "",
        (Language::Chinese, true) => {
            "\n【如何答复】\n\
             · 同意：状态改为“已确认”，或接受邀请，或在标题前加【确认】\n\
             · 改时间：把本日程移到可以上门的时间\n\
             · 不能上门：状态改为“已取消”，或谢绝邀请，或在标题前加【拒绝】\n\
             · 已完成：在标题前加【完成】，或加分类“完成”\n\
             请勿删除本日程。\n"
        }
        (Language::English, true) => {
            "\nHow to answer\n\
             - You come: set the status to confirmed, or accept the invitation, or put [confirmed] before the title\n\
             - Another time: move this entry to when you can come\n\
             - You do not come: set the status to cancelled, or decline the invitation, or put [declined] before the title\n\
             - The work is done: put [done] before the title, or add the category \"done\"\n\
             Please do not delete this entry.\n"
        }
    };
    let line = match language {
        Language::Chinese => LINES[0],
        Language::English => LINES[1],
    };
    format!("{body}{how}\n—— {line} ——\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::booking::{State, examples, text};

    #[test]
    fn marks_stand_in_brackets_before_a_title() {
        let table: [(&str, &[Mark]); 8] = [
            ("[done] 【紧急】故障维护", &[Mark::Done]),
            ("【紧急】 【已确认】故障维护", &[Mark::Confirmed]),
            ("[Declined][DONE]x", &[Mark::Refused, Mark::Done]),
            ("done", &[]),
            ("x [done]", &[]),
            ("[done", &[]),
            ("【", &[]),
            ("", &[]),
        ];
        for (title, expected) in table {
            assert_eq!(marks(title).into_iter().map(|(mark, _)| mark).collect::<Vec<_>>(), expected, "{title}");
        }
        assert_eq!(marks("【紧急】[ done ]x"), [(Mark::Done, "[ done ]")]);
    }

    #[test]
    fn no_title_of_ours_is_marked() {
        for language in [Language::Chinese, Language::English] {
            for state in State::ALL {
                for mut booking in [examples::full(), examples::minimal(), examples::exceptional()] {
                    booking.state = state;
                    booking.recovered_at = Some(booking.opened_at);
                    assert_eq!(marks(&text::write(&booking, language).subject), [], "{booking:?}");
                }
            }
        }
    }

    #[test]
    fn a_title_of_a_template_answers_nothing() {
        for title in ["[done] Room 1", "【紧急】【完成】Room 1"] {
            assert_eq!((marks(&unmarked(title.into())), unmarked(title.into())), (vec![], format!("· {title}")));
        }
        assert_eq!(unmarked("【紧急】Room 1 [done]".into()), "【紧急】Room 1 [done]");
    }

    #[test]
    fn notes_stand_below_their_line() {
        for language in [Language::Chinese, Language::English] {
            let first = description("text\n", true, language);
            assert_eq!(notes(&first), Some(""));
            let kept = format!("{first}call the gate\nfirst");
            assert_eq!(notes(&kept), Some("call the gate\nfirst"));
            let next = with_notes(&description("other\n", false, language), notes(&kept).expect("notes"));
            assert!(next.ends_with("——\ncall the gate\nfirst") && next.starts_with("other\n"), "{next}");
            assert_eq!(notes(&next), notes(&kept));
        }
        assert_eq!(notes("text of somebody else"), None);
    }
}
