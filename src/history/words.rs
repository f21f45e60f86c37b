//! What is said of the history, in both languages. Pure.

use std::path::Path;

use bellwether_agent::site::Language;

use super::import::Count;

pub(super) fn exported(lines: u64, room: &str, language: Language) -> String {
    match language {
        Language::English => format!("{lines} lines of room {room}\n"),
        Language::Chinese => format!("已导出教室 {room} 的 {lines} 行记录\n"),
    }
}

pub(super) fn copied(file: &Path, bytes: u64, language: Language) -> String {
    let (file, megabytes) = (file.display(), bytes as f64 / f64::from(1 << 20));
    match language {
        Language::English => format!("the ledger was copied to {file}, {megabytes:.1} MiB\n"),
        Language::Chinese => format!("台账已备份到 {file}（{megabytes:.1} MiB）\n"),
    }
}

pub(super) fn running(language: Language) -> &'static str {
    match language {
        Language::English => {
            "stop the daemon first (systemctl stop bellwether): a history is taken in only while none runs"
        }
        Language::Chinese => "请先停止守护进程（systemctl stop bellwether）：仅在其停止时才能导入历史记录",
    }
}

pub(super) fn learned(language: Language) -> &'static str {
    match language {
        Language::English => {
            "this box has learned what its room is like when all is well; with --force it forgets that and learns anew \
             from the imported history and its own"
        }
        Language::Chinese => {
            "本机已学习本教室的正常状态；加 --force 将舍弃已学内容，并依据导入的和本机的历史记录重新学习"
        }
    }
}

pub(super) fn imported(count: &Count, room: &str, language: Language) -> String {
    let Count { lines, new, known, late, malformed, elsewhere, others } = count;
    let found: Vec<&str> = others.iter().map(String::as_str).collect();
    let found = found.join(", ");
    let mut text = match language {
        Language::English => format!(
            "{lines} lines ({malformed} unreadable, {late} late, {elsewhere} not of room {room}): {new} entries taken in, \
             {known} known before\n"
        ),
        Language::Chinese => format!(
            "共 {lines} 行（无法读取 {malformed} 行，过晚 {late} 行，非教室 {room} 的 {elsewhere} 行）：\
             新增 {new} 条，已有 {known} 条\n"
        ),
    };
    if count.nothing() && !found.is_empty() {
        text.push_str(&match language {
            Language::English => format!("nothing is of room {room}; the file is of {found}: name one with --room\n"),
            Language::Chinese => format!("文件中没有教室 {room} 的记录，其中有：{found}；请用 --room 指定\n"),
        });
    }
    text
}
