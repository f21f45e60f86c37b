//! What people ask of the daemon, and what it answers.

use serde_json::json;

use super::{Daemon, report};
use crate::{
    Clock,
    control::{Ask, Reply, Request},
    quiet,
};

impl<C: Clock> Daemon<C> {
    pub(super) async fn asked(&mut self, Request { ask, user, reply }: Request) {
        let answer = match ask {
            Ask::ShowQuiet => Ok(self.quiet()),
            Ask::Quiet(until) => self.ask_quiet(until, user).await,
            Ask::Book(asked) => self.book(&asked, user).await.map_err(|error| report::chain(&*error)),
        };
        // Who asked may have gone meanwhile.
        let _gone = reply.send(answer);
    }

    async fn ask_quiet(&mut self, until: Option<chrono::DateTime<chrono::Utc>>, user: Option<u32>) -> Reply {
        let now = (self.clock)();
        if let Some(until) = until {
            quiet::check(until, now).map_err(|error| error.to_string())?;
        }
        self.known.quiet.ask(until, now).await;
        self.hours.quiet(until);
        match until {
            Some(until) => tracing::info!(%until, user, "somebody asked for quiet: heavy probes wait"),
            None => tracing::info!(user, "somebody asked that it is quiet no longer"),
        }
        self.publish();
        Ok(self.quiet())
    }

    fn quiet(&self) -> serde_json::Value {
        let now = (self.clock)();
        let (quiet, locale) = (&self.known.quiet, &self.known.config.site.locale);
        json!(quiet::Answer {
            now,
            quiet_until: quiet.until(now),
            not_durable: quiet.not_durable().map(str::to_owned),
            timezone: locale.timezone,
            language: locale.language,
        })
    }
}
