//! The loop that all runs share, and the time that is measured.

use std::{io::ErrorKind, ops::Range, time::Duration};

use mio::{Events, Poll};

use crate::{
    Result,
    args::{Connect, Pace, Publish},
    clock,
    meter::Meter,
    process::{self, Server},
    publisher::{FIRST_TOKEN, Publisher},
    swarm::{Plan, Swarm},
    template::Template,
};

/// How long connecting, or waiting for what is late, may take.
pub(crate) const PATIENCE: f64 = 60.0;

/// After how long without a word the server is taken to be through with its newcomers.
const SILENCE: f64 = 0.3;

#[derive(Debug)]
pub(crate) struct Run {
    poll: Poll,
    events: Events,
    pub(crate) swarm: Swarm,
    pub(crate) publisher: Option<Publisher>,
    pub(crate) meter: Meter,
    /// How many subscribers get each notification; with none, its answer is all that there is to wait for.
    pub(crate) receivers: u64,
}

/// What was used while it was measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) seconds: f64,
    /// Notifications that arrived in this time.
    pub(crate) arrived: u64,
    /// Publishes that were answered in this time.
    pub(crate) answered: u64,
    pub(crate) server_cpu: f64,
    pub(crate) own_cpu: f64,
}

impl Run {
    pub(crate) fn new(plan: Plan) -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1_024),
            swarm: Swarm::new(plan),
            publisher: None,
            meter: Meter::new(),
            receivers: 0,
        })
    }

    /// A run against a server when everybody is connected, and how many seconds that took.
    pub(crate) fn connected(connect: &Connect, stalled: u32) -> Result<(Self, f64)> {
        let mut run = Self::new(Plan {
            address: connect.address,
            path: Some(Template::new(&connect.path, 0)),
            conns: connect.conns,
            rooms: connect.rooms,
            hello: connect.hello.clone(),
            deflate: connect.deflate,
            stalled,
        })?;
        let seconds = run.connect()?;
        Ok((run, seconds))
    }

    /// Connects everybody, and waits until the server has said to the newcomers what it has to say. Answers how many seconds passed
    /// until its last word.
    pub(crate) fn connect(&mut self) -> Result<f64> {
        let began = clock::now();
        let mut last = began;
        self.until(began + clock::nanos(PATIENCE), |run| {
            run.swarm.connect(run.poll.registry())?;
            let now = clock::now();
            last = if run.swarm.is_settled() { last.max(run.meter.heard) } else { now };
            Ok(now.saturating_sub(last) > clock::nanos(SILENCE))
        })?;
        Ok(clock::seconds(last - began))
    }

    /// Connects the publishers. One that is idle for long would be hung up on, so they come when they are needed.
    pub(crate) fn publish_by(&mut self, publish: &Publish, connect: &Connect) -> Result<()> {
        let publisher = Publisher::connect(publish, connect.rooms, connect.address, self.poll.registry())?;
        self.publisher = Some(publisher);
        Ok(())
    }

    /// Goes on for so many seconds.
    pub(crate) fn rest(&mut self, seconds: f64) -> Result<()> {
        self.until(clock::now() + clock::nanos(seconds), |_| Ok(false))
    }

    /// Cuts all subscribers off, as a proxy does that goes down.
    pub(crate) fn cut(&mut self) -> Result<()> {
        self.swarm.cut()
    }

    /// Connects everybody again, by another path, in so many seconds.
    pub(crate) fn reconnect(&mut self, path: &str) -> Result<f64> {
        self.swarm.come_back_by(Template::new(path, 0));
        self.connect()
    }

    /// Goes on until `deadline`, or until `done` says so.
    pub(crate) fn until(&mut self, deadline: u64, mut done: impl FnMut(&mut Self) -> Result<bool>) -> Result<()> {
        loop {
            let now = clock::now();
            if done(self)? || now >= deadline {
                return Ok(());
            }
            self.publish(now)?;
            let due = self.publisher.as_ref().and_then(Publisher::next_due).unwrap_or(deadline);
            // What is as fast as it goes looks again soon: nothing may come that wakes it.
            let wait = due.min(deadline).min(now + 10_000_000).saturating_sub(clock::now());
            self.wait(Duration::from_nanos(wait))?;
        }
    }

    fn wait(&mut self, timeout: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        // Taken out, for what follows needs all of `self`.
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            match event.token().0.checked_sub(FIRST_TOKEN) {
                None => self.swarm.ready(event.token().0, &mut self.meter),
                Some(number) => self.publisher.as_mut().map_or(Ok(()), |publisher| publisher.ready(number))?,
            }
            // A burst of deliveries must not put off what is due meanwhile.
            if self.publisher.as_ref().and_then(Publisher::next_due).is_some() {
                self.publish(clock::now())?;
            }
        }
        self.events = events;
        Ok(())
    }

    fn publish(&mut self, now: u64) -> Result<()> {
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        let rounds = self.meter.total.checked_div(self.receivers).unwrap_or(publisher.answered);
        publisher.publish(now, rounds)
    }

    /// Publishes at `pace`, measures, and waits for what is late.
    pub(crate) fn measure(&mut self, pace: Pace, server: &Server) -> Result<Used> {
        let start = clock::now();
        if let Some(publisher) = &mut self.publisher {
            publisher.start(pace, start);
        }
        let begin = start + clock::nanos(pace.warmup);
        let window = begin..begin + clock::nanos(pace.seconds);
        self.meter.restart(window.clone());
        self.until(begin, |_| Ok(false))?;
        let used = self.watch(window, server)?;
        if let Some(publisher) = &mut self.publisher {
            publisher.stop();
        }
        self.rest(0.5)?;
        Ok(used)
    }

    fn watch(&mut self, window: Range<u64>, server: &Server) -> Result<Used> {
        let answered = |run: &Self| run.publisher.as_ref().map_or(0, |publisher| publisher.answered);
        let before = (self.meter.total, answered(self), server.cpu_seconds()?, process::own_cpu_seconds()?);
        self.until(window.end, |_| Ok(false))?;
        Ok(Used {
            seconds: clock::seconds(clock::now() - window.start),
            arrived: self.meter.total - before.0,
            answered: answered(self) - before.1,
            server_cpu: server.cpu_seconds()? - before.2,
            own_cpu: process::own_cpu_seconds()? - before.3,
        })
    }
}
