//! The one place where events become notifications: route, append, acknowledge.
//!
//! Publishers hold a [`Handle`] and wait in a bounded queue. One task takes what waits, in batches, and a publisher has
//! its answer only when the journal has its event. The broker never sees a subscriber: [`delivery`](crate::delivery) follows
//! the journal.

mod command;
mod route;
mod rules;
mod task;
mod template;
#[cfg(test)]
mod tests;

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use command::{Accepted, Pending, Published};
pub use route::{Route, RouteError, Rules};
pub use rules::{RuleFault, RulesError};

use crate::{
    broker::command::Submission,
    clock::Clock,
    domain::{Audience, Audiences, Code, Draft},
    journal::{self, Append, Relay},
    rooms::Writer,
    worker::Worker,
};

/// The settings of the broker.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "broker")]
#[command(next_help_heading = "Publishing")]
pub struct Options {
    /// A TOML file with routing rules, to replace the built-in ones.
    #[arg(long, env = "ROUTES", value_name = "FILE")]
    pub routes: Option<PathBuf>,

    /// How many publishes may wait for the journal, and as many for ephemeral events to go out.
    #[arg(long, env = "PUBLISH_QUEUE", default_value = "4096", value_name = "N")]
    pub publish_queue: NonZeroUsize,

    /// How many bytes of events may wait for the journal.
    #[arg(long, env = "PUBLISH_QUEUE_BYTES", default_value = "67108864", value_name = "BYTES")]
    pub publish_queue_bytes: NonZeroUsize,

    /// How long a publish waits for its answer: for a place in the queue, and for the journal. With 0s it waits for no place,
    /// and 5s for the journal.
    #[arg(long, env = "PUBLISH_TIMEOUT", default_value = "5s", value_name = "TIME",
        value_parser = crate::domain::parse_duration)]
    pub publish_timeout: Duration,
}

/// How long the journal may take where a publish is not to wait for a place.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest that a publish waits, which is for ever.
const MAX_PATIENCE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Why a publisher is not told that its event was published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule makes a name of the event that cannot be one.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The idempotency key was used for another content.
    #[error("the idempotency key was already used for another content")]
    Conflict,
    /// The queue stayed full for as long as a publish may wait.
    #[error("the journal cannot keep up with the publishers; try again in a second")]
    Full,
    /// The journal has not said in time what became of the event.
    #[error(
        "the journal has not answered in time, and may have kept the event: a retry with the same idempotency key is safe, \
         one without a key may publish it twice"
    )]
    Unknown,
    /// The service is shutting down.
    #[error("the service is shutting down; try again on another connection")]
    Closing,
    /// The journal cannot take the event.
    #[error(transparent)]
    Journal(#[from] Arc<journal::Error>),
}

impl Error {
    /// The error as callers see it.
    pub fn code(&self) -> Code {
        match self {
            Self::Route(_) => Code::Invalid,
            Self::Conflict => Code::Conflict,
            Self::Full => Code::Exhausted,
            Self::Unknown | Self::Closing => Code::Unavailable,
            Self::Journal(error) => error.code(),
        }
    }

    /// The field of the request that is wrong, where one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Route(_) => Some("payload"),
            Self::Conflict | Self::Full | Self::Unknown | Self::Closing | Self::Journal(_) => None,
        }
    }
}

/// What an event would do, without publishing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The rule that matches, with its place in the table; `None` when a target was given.
    pub rule: Option<(String, usize)>,
    /// Who the event would be for.
    pub audiences: Audiences,
    /// How many connections of this node it would be addressed to.
    pub receivers: usize,
    /// The names of the first of them.
    pub names: Vec<String>,
}

/// How many names an [`Explanation`] lists.
const EXPLAINED_NAMES: usize = 100;

/// How many explanations are made at the same time.
const EXPLANATIONS: usize = 4;

/// The publishers' end of the broker.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Of what is to be kept.
    kept: mpsc::Sender<Submission>,
    /// Of what is not, and so need not wait for the journal.
    passing: mpsc::Sender<Submission>,
    bytes: Arc<Semaphore>,
    max_bytes: usize,
    wait: Duration,
    rules: Arc<Rules>,
    rooms: Writer,
    explaining: Arc<Semaphore>,
}

impl Handle {
    /// Publishes one draft and answers when the journal has it, or after as long as the options say.
    ///
    /// A publish that has its place in the queue, and is abandoned then or answered that nobody knows, is carried out all
    /// the same.
    pub async fn publish(&self, draft: Draft) -> Published {
        let mut published = self.submit(vec![draft]).await?.outcomes().await;
        published.pop().expect("each draft has its outcome")
    }

    /// Puts drafts into the queue, in their order and behind everything that was submitted before, and answers when they
    /// have their place there. Those that are kept nowhere wait in a queue of their own. The outcomes come later, but no
    /// later than the options say, counted from now; a publisher that submits on meanwhile is pipelining. No drafts wait for
    /// nothing.
    pub async fn submit(&self, drafts: Vec<Draft>) -> Result<Pending, Error> {
        let taken_in = Instant::now();
        let size = |drafts: &[Draft]| drafts.iter().map(Draft::size).sum::<usize>();
        // A submission that is larger than the whole queue gets the whole queue to itself.
        let share = u32::try_from(size(&drafts).min(self.max_bytes)).unwrap_or(u32::MAX);
        let are_passing: Vec<bool> = drafts.iter().map(Draft::is_passing).collect();
        let (passing, kept): (Vec<_>, Vec<_>) = drafts.into_iter().partition(Draft::is_passing);
        let places = async {
            let room = Arc::clone(&self.bytes).acquire_many_owned(share).await.map_err(|_| Error::Closing)?;
            let places = (place(&self.passing, &passing).await?, place(&self.kept, &kept).await?);
            Ok((room, places))
        };
        let (mut room, places) = timeout_at(taken_in + self.wait, places).await.unwrap_or(Err(Error::Full))?;
        let passing_room = room.split(size(&passing).min(room.num_permits())).expect("no more than there is");
        let passing = places.0.map(|place| submit(place, passing, passing_room));
        let kept = places.1.map(|place| submit(place, kept, room));
        let patience = if self.wait.is_zero() { PATIENCE } else { self.wait };
        Ok(Pending { are_passing, passing, kept, until: taken_in + patience })
    }

    /// The rules by which events are routed.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// How many connections of this node would receive what is for everyone.
    pub fn connections(&self) -> usize {
        self.rooms.receivers(&Audience::Everyone.into())
    }

    /// Says where an event would go. Of those who ask, a few are served at a time: each has all receivers in memory.
    pub async fn explain(&self, draft: &Draft) -> Result<Explanation, Error> {
        let (rule, audiences) = match draft.target() {
            Some(audiences) => (None, audiences.clone()),
            None => {
                let route = self.rules.route(draft)?;
                (Some((route.rule.to_owned(), route.index)), route.audiences)
            }
        };
        let _turn = self.explaining.acquire().await.map_err(|_| Error::Closing)?;
        let (receivers, names) = self.rooms.explain(&audiences, EXPLAINED_NAMES).await;
        Ok(Explanation { rule, audiences, receivers, names })
    }
}

/// Waits for a place for `drafts`, if there are any.
async fn place<'a>(
    queue: &'a mpsc::Sender<Submission>,
    drafts: &[Draft],
) -> Result<Option<mpsc::Permit<'a, Submission>>, Error> {
    if drafts.is_empty() {
        return Ok(None);
    }
    queue.reserve().await.map(Some).map_err(|_| Error::Closing)
}

/// Puts `drafts` into their place.
fn submit(
    place: mpsc::Permit<'_, Submission>,
    drafts: Vec<Draft>,
    room: OwnedSemaphorePermit,
) -> oneshot::Receiver<Vec<Published>> {
    let (reply, outcomes) = oneshot::channel();
    place.send(Submission { drafts, reply, room });
    outcomes
}

/// A broker that is ready to run.
#[derive(Debug)]
pub struct Broker {
    handle: Handle,
    task: task::Task,
}

impl Broker {
    /// Puts a broker before a journal, which keeps and relays; `rooms` count who receives an event. Events are stamped, and their time to
    /// live begins, by `clock`.
    pub fn new(
        options: &Options,
        rules: Rules,
        (append, relay): (Arc<dyn Append>, Arc<dyn Relay>),
        rooms: Writer,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (kept, kept_queue) = mpsc::channel(options.publish_queue.get());
        let (passing, passing_queue) = mpsc::channel(options.publish_queue.get());
        let max_bytes = options.publish_queue_bytes.get().min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        let rules = Arc::new(rules);
        let handle = Handle {
            kept,
            passing,
            bytes: Arc::new(Semaphore::new(max_bytes)),
            max_bytes,
            wait: options.publish_timeout.min(MAX_PATIENCE),
            rules: Arc::clone(&rules),
            rooms: rooms.clone(),
            explaining: Arc::new(Semaphore::new(EXPLANATIONS)),
        };
        Self { handle, task: task::Task::new((kept_queue, passing_queue), rules, (append, relay), rooms, clock) }
    }

    /// A handle for publishers.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Starts the task. It ends with nothing left undone, when `closing` is cancelled (or the last [`Handle`] is gone) and the
    /// queues are empty.
    pub fn spawn(self, tasks: &TaskTracker, closing: CancellationToken) -> Worker {
        Worker::spawn("broker", tasks, self.task.run(closing))
    }
}
