//! The self-test: whether this RT keeps what exactly-once rests on, found out on the queue's mark alone.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use reqwest::{Method, StatusCode, header::DATE};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Config,
    answer::Created,
    api::Session,
    find::{find, has_file},
    order::{ending, moved},
    read::list,
};
use crate::{
    booking::Window,
    channel::{Finding, Outcome, http::Answer},
};

/// How far two clocks may be apart.
const CLOCKS: TimeDelta = TimeDelta::seconds(60);
/// The file in the mark's one comment: who sees it sees the comments of all tickets.
pub(super) const MARK_FILE: &str = "bellwether-mark.txt";
/// A key and a room that nobody has.
const NOBODY: &str = "bw-nobody";

/// Looks at everything that the channel needs; makes the queue's mark, if there is none.
pub(in crate::channel) async fn check(config: &Config, now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(finding) = look(config, now, &mut findings).await {
        findings.push(finding);
    }
    findings
}

/// Stops at what makes the rest pointless.
async fn look(config: &Config, now: DateTime<Utc>, findings: &mut Vec<Finding>) -> Result<(), Finding> {
    let session = Session::new(config, now).map_err(|outcome| stopped("address and token", outcome))?;
    let answer = session.ask(Method::GET, "rt", &[], None, None).await;
    let answer = answer.map_err(|outcome| stopped("address and token", outcome))?;
    let about: About =
        session.said(StatusCode::OK, &answer).map_err(|outcome| stopped("address and token", outcome))?;
    findings.push(Finding::fine(format!("address and token: RT {}", about.version)));
    findings.push(clock(&answer, now));

    let queue: Queue = session
        .get(&format!("queue/{}", config.queue), &[])
        .await
        .map_err(|outcome| stopped(&format!("queue {}", config.queue), outcome))?;
    let missing = queue.missing(config);
    findings.push(judge(format!("queue {}: its tickets have the fields, and we may make some", config.queue), missing));
    if findings.iter().any(|finding| finding.wrong.is_some()) {
        return Err(Finding::wrong("the search", "not looked at before the above is mended"));
    }

    let found = find(&session, NOBODY).await.map_err(|outcome| stopped("the search", outcome))?;
    let strangers = (!found.is_sound || !found.ours.is_empty()).then(|| "it brings tickets of others".to_owned());
    findings.push(judge("a search for a key that nobody has finds nothing", strangers));

    let ticket = mark(&session).await?;
    findings.push(Finding::fine(format!("the mark is found by its key: ticket {ticket}")));
    findings.push(change(&session, ticket).await);
    findings.push(comment(&session, ticket).await);
    let by_room = list(config, NOBODY, now).await.err();
    findings.push(judge(format!("the mark is found by its {}", config.room_field), by_room));
    Ok(())
}

#[derive(Deserialize)]
struct About {
    #[serde(rename = "Version")]
    version: String,
}

/// A queue as RT shows it.
#[derive(Deserialize)]
struct Queue {
    #[serde(rename = "TicketCustomFields", default)]
    fields: Vec<Field>,
    #[serde(rename = "_hyperlinks", default)]
    links: Vec<Link>,
}

#[derive(Deserialize)]
struct Field {
    name: String,
}

/// What the user may do there.
#[derive(Deserialize)]
struct Link {
    r#ref: String,
    #[serde(default)]
    r#type: String,
}

impl Queue {
    fn missing(&self, config: &Config) -> Option<String> {
        let known = |name: &str| self.fields.iter().any(|field| field.name == name);
        let mut missing: Vec<String> = [&config.key_field, &config.room_field]
            .into_iter()
            .filter(|name| !known(name))
            .map(|name| format!("no custom field {name} is seen; let it apply to the queue, with SeeCustomField"))
            .collect();
        if !self.links.iter().any(|link| link.r#ref == "create" && link.r#type == "ticket") {
            missing.push("the right CreateTicket is not there".to_owned());
        }
        (!missing.is_empty()).then(|| missing.join("; "))
    }
}

fn judge(what: impl Into<String>, wrong: Option<String>) -> Finding {
    Finding { what: what.into(), wrong }
}

fn stopped(what: &str, outcome: Outcome) -> Finding {
    Finding::wrong(what, outcome.detail().unwrap_or("it is done"))
}

fn clock(answer: &Answer, now: DateTime<Utc>) -> Finding {
    let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
    let Some(theirs) = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()) else {
        return Finding::wrong("clock", "answers have no date");
    };
    let apart = (theirs.with_timezone(&Utc) - now).abs();
    let wrong = (apart > CLOCKS).then(|| format!("RT's clock and ours are {} s apart", apart.num_seconds()));
    judge("clock", wrong)
}

/// The number of the mark, which is made if there is none, and mended if its key is gone.
async fn mark(session: &Session<'_>) -> Result<u64, Finding> {
    let (config, mark) = (session.config, session.config.mark());
    let what = "the mark is found by its key";
    let failed = |outcome| stopped(what, outcome);
    let found = find(session, &mark).await.map_err(failed)?;
    if let Some(ticket) = found.mark {
        return Ok(ticket.effective_id);
    }
    let number = match found.ours.first() {
        Some(ticket) => ticket.effective_id,
        None => session.post::<Created>("ticket", &ticket(config, &mark)).await.map_err(failed)?.id,
    };
    let fields = json!({ &config.key_field: mark, &config.room_field: mark });
    let close = json!({ "CustomFields": fields, "Status": config.done.first() });
    let said = session.change(number, None, &close).await.map_err(failed)?;
    if find(session, &mark).await.map_err(failed)?.mark.is_some() {
        return Ok(number);
    }
    let said = if said.is_empty() { String::new() } else { format!(" ({})", said.join("; ")) };
    Err(Finding::wrong(
        what,
        format!(
            "ticket {number} was made for it, and is not found by {}{said}: the user of token_file needs SeeCustomField, \
             ModifyCustomField and SetInitialCustomField there, and ShowTicket",
            config.key_field
        ),
    ))
}

fn ticket(config: &Config, mark: &str) -> Value {
    json!({
        "Queue": config.queue,
        "Subject": format!("bellwether: please keep this ticket, by which the search is tested {}", ending(mark)),
        "Content": "bellwether 用本工单检验查询功能，请勿删除。\nbellwether tests its search by this ticket; please do not \
                    delete it. Nothing is to be done.\n",
        "ContentType": "text/plain",
        "CustomFields": { &config.key_field: mark, &config.room_field: mark },
    })
}

/// Whether a ticket takes an appointment and a field, seen in what is read back.
async fn change(session: &Session<'_>, number: u64) -> Finding {
    let what = "a ticket takes an appointment and its fields";
    let (config, mark) = (session.config, session.config.mark());
    // Another one than before, so that the change is one.
    let start = session.now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(session.now);
    let window = Window { start, end: start + TimeDelta::hours(1) };
    let mut body = moved(Some(window), None);
    body["CustomFields"] = json!({ &config.room_field: mark });
    let tried = async {
        let said = session.change(number, None, &body).await?;
        Ok((said, session.ticket(number).await?))
    };
    match tried.await {
        Err(outcome) => stopped(what, outcome),
        Ok((_, Some(read))) if read.ticket.window() == Some(window) && read.ticket.has(&config.room_field, &mark) => {
            Finding::fine(what)
        }
        Ok((said, _)) => {
            let why = format!("ticket {number} did not take them ({}): ModifyTicket is needed", said.join("; "));
            Finding::wrong(what, why)
        }
    }
}

/// Whether comments can be made, and seen again.
async fn comment(session: &Session<'_>, number: u64) -> Finding {
    let what = "a comment is seen again";
    let file = json!({ "FileName": MARK_FILE, "FileType": "text/plain", "FileContent": "YmVsbHdldGhlcgo=" });
    let body = json!({ "Content": "bellwether", "ContentType": "text/plain", "Attachments": [file] });
    let tried = async {
        if !has_file(session, number, MARK_FILE).await? {
            session.comment(number, &body).await?;
        }
        has_file(session, number, MARK_FILE).await
    };
    match tried.await {
        Err(outcome) => stopped(what, outcome),
        Ok(true) => Finding::fine(what),
        Ok(false) => Finding::wrong(what, format!("that on ticket {number} is not: ShowTicketComments is needed")),
    }
}
