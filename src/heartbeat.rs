//! One beat a minute. Whether a probe is due is decided elsewhere, in the school's zone and purely;
//! the cron library only wakes the loop, in UTC, since it freezes the offset of any other zone.

use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// What makes the loop look at its clock.
#[derive(Debug)]
pub enum Heart {
    /// The start of each minute.
    Minutes,
    /// Whoever also moves the clock: a day can be lived through in seconds.
    Given(mpsc::Receiver<()>),
}

/// A heart that beats; its beats end with it.
pub(crate) struct Beating {
    _scheduler: Option<JobScheduler>,
}

impl Heart {
    /// Starts it. A beat that finds the last one unread is dropped.
    pub(crate) async fn start(self) -> Result<(mpsc::Receiver<()>, Beating), JobSchedulerError> {
        match self {
            Self::Minutes => {
                let (sender, beats) = mpsc::channel(1);
                let scheduler = minutes(sender).await?;
                Ok((beats, Beating { _scheduler: Some(scheduler) }))
            }
            Self::Given(beats) => Ok((beats, Beating { _scheduler: None })),
        }
    }
}

async fn minutes(beats: mpsc::Sender<()>) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let beat = Job::new("0 * * * * *", move |_, _| {
        let _unread = beats.try_send(());
    })?;
    scheduler.add(beat).await?;
    scheduler.start().await?;
    Ok(scheduler)
}
