//! One beat a minute. Whether a probe is due is decided elsewhere, in the school's zone and purely;
//! the cron library only wakes the loop, in UTC, since it freezes the offset of any other zone.

use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// Starts the heart. It beats into `beats` until the returned scheduler is dropped or shut down; a
/// beat that finds the last one unread is dropped.
pub async fn start(beats: mpsc::Sender<()>) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let beat = Job::new("0 * * * * *", move |_, _| {
        let _unread = beats.try_send(());
    })?;
    scheduler.add(beat).await?;
    scheduler.start().await?;
    Ok(scheduler)
}
