//! A transport that nobody needs, to show what one is made of, and what all of them have in common.

mod hung;

use std::{num::NonZeroUsize, time::Duration};

use chrono::TimeDelta;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    clock::{Clock, Manual},
    config::Config,
    delivery::{FanOuts, Start},
    domain::{
        Audiences, ClientId, Content, Durability, EphemeralEvent, Epoch, Event, JsonText, Notice, Payload, Position,
        Recovery, RoomId, Seq,
    },
    journal::{Append, Entry, Follow, Incarnation, Memory, Relay},
    rooms::{self, Writer},
};

/// Gives lines of text. What nobody keeps has no number.
#[derive(Debug)]
struct Lines;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    text: String,
    expires_at: Option<DateTime<Utc>>,
}

impl Frame for Line {
    fn size(&self) -> usize {
        self.text.len()
    }
}

impl Transport for Lines {
    type Item = Line;
    type Reason = &'static str;
    const GOES_ON_WITHOUT: bool = true;

    fn name(&self) -> &str {
        "lines"
    }

    fn kept(&self, notification: &Arc<Notification>) -> Line {
        let text = format!("{} {}", notification.seq, notification.event.name);
        Line { text, expires_at: notification.expires_at }
    }

    fn ephemeral(&self, ephemeral: &Arc<Ephemeral>) -> Option<Line> {
        let text = match &ephemeral.content {
            Content::Event(event) => event.event.name.to_string(),
            Content::Notice(Notice::Chat { client_id, message, .. }) => {
                format!("{client_id}: {}", message.as_json().get().trim_matches('"'))
            }
            Content::Notice(_) => return None,
        };
        Some(Line { text, expires_at: ephemeral.expires_at() })
    }

    fn expires_at(line: &Line) -> Option<DateTime<Utc>> {
        line.expires_at
    }
}

/// A journal, and the rooms that it is delivered to.
struct Scene {
    journal: Arc<Memory>,
    rooms: Writer,
    source: StreamSource,
    clock: Arc<Manual>,
    fan_outs: TaskTracker,
}

impl Scene {
    /// The journal keeps so many notifications, and so many bytes may wait for a subscriber.
    fn new(entries: usize, max_bytes: usize) -> Self {
        let mut options = Config::defaults().journal;
        options.max_entries = NonZeroUsize::new(entries).expect("not none");
        let clock = Arc::new(Manual::new(DateTime::UNIX_EPOCH));
        let journal = Arc::new(Memory::new(&options, Arc::clone(&clock) as _));
        let (rooms, reader) = rooms::split(NonZeroUsize::MIN);
        let source = StreamSource {
            rooms: reader,
            journal: Arc::clone(&journal) as _,
            attend: Arc::clone(&journal) as _,
            max_bytes,
            stopping: CancellationToken::new(),
            clock: Arc::clone(&clock) as _,
        };
        Self { journal, rooms, source, clock, fan_outs: TaskTracker::new() }
    }

    /// Delivers what is committed from now on.
    fn deliver(&self) {
        drop(FanOuts::new(&*self.journal, &self.rooms).spawn(&self.fan_outs));
    }

    /// Waits until everything is delivered. Nothing is any more afterwards.
    async fn all_delivered(&self) {
        self.journal.end_commit_streams();
        self.fan_outs.close();
        self.fan_outs.wait().await;
    }

    async fn publish(&self, room: &str, names: &[&str]) {
        self.publish_until(room, names, None).await;
    }

    async fn publish_until(&self, room: &str, names: &[&str], expires_at: Option<DateTime<Utc>>) {
        let entry = |name: &&str| {
            let audiences = audience(room).into();
            Entry { event: event(name), audiences, key: None, expires_at, durability: Durability::Memory }
        };
        self.journal.append(names.iter().map(entry).collect()).await.expect("kept");
    }

    fn position(&self, seq: Seq) -> Position {
        Position { seq, epoch: self.journal.epoch() }
    }

    async fn subscribe(&self, since: Option<Seq>) -> (Stream, Start) {
        let since = since.map(|seq| self.position(seq));
        let filter = Filter::any_of(vec![audience("r")]);
        let subscribed = self.source.subscribe(Lines, filter, since.as_ref()).await;
        let (stream, beginning) = subscribed.expect("the journal answers");
        (Stream(stream), beginning.start)
    }
}

struct Stream(SubscriptionStream<Lines>);

impl Stream {
    /// What comes next, or the end.
    async fn try_next(
        &mut self,
        check: impl FnMut(&Filter) -> Result<(), &'static str>,
    ) -> Result<Pulled<Line>, StreamEnd<&'static str>> {
        timeout(Duration::from_secs(60), self.0.next(check)).await.expect("something comes")
    }

    async fn next(&mut self) -> String {
        match self.try_next(|_| Ok(())).await.expect("it goes on") {
            Pulled::Item(line) => line.text,
            Pulled::Gap(from, to) => format!("{from} to {to} are gone"),
            Pulled::Dropped(count) => format!("{count} dropped"),
        }
    }

    async fn next_all(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            lines.push(self.next().await);
        }
        lines
    }
}

fn audience(room: &str) -> Audience {
    Audience::Room(RoomId::parse(room).expect("a name"))
}

fn event(name: &str) -> Event {
    let payload = Payload::parse("{}".into()).expect("an object");
    Event { name: name.into(), payload, source: "".into(), timestamp: "".into() }
}

fn said(message: &str) -> Ephemeral {
    let (client_id, room) = (ClientId::parse("ana").expect("a name"), RoomId::parse("r").expect("a name"));
    Ephemeral::notice(Notice::Chat { client_id, room, message: JsonText::of_text(message), at: DateTime::UNIX_EPOCH })
}

#[tokio::test]
async fn a_stream_gives_what_comes_from_now_on() {
    let scene = Scene::new(100, 1_000);
    scene.publish("r", &["before"]).await;
    scene.deliver();
    let (mut stream, start) = scene.subscribe(None).await;
    assert_eq!(start, Start { cursor: 1, live_from: 1, recovery: Recovery::Fresh });
    scene.publish("r", &["a"]).await;
    scene.publish("other", &["not for it"]).await;
    assert_eq!(stream.next().await, "2 a");
    scene.publish("r", &["b"]).await;
    let joined = Notice::Joined {
        client_id: ClientId::parse("ana").expect("a name"),
        room: RoomId::parse("r").expect("a name"),
        at: DateTime::UNIX_EPOCH,
    };
    scene.journal.relay(Ephemeral::notice(joined)).await.expect("relayed");
    scene.journal.relay(said("hola")).await.expect("relayed");
    let event = EphemeralEvent { id: "".into(), event: event("passes by"), expires_at: None };
    scene.journal.relay(Ephemeral::event(audience("r").into(), event)).await.expect("relayed");
    assert_eq!(stream.next_all(3).await, ["4 b", "ana: hola", "passes by"]);
}

// what is read and what is offered meanwhile overlap, and each comes once
#[tokio::test]
async fn a_stream_that_resumes_gives_what_was_missed_and_then_what_comes() {
    let scene = Scene::new(100, 1_000);
    scene.publish("r", &["a", "b", "c"]).await;
    scene.deliver();
    let (mut stream, start) = scene.subscribe(Some(1)).await;
    assert_eq!(start, Start { cursor: 1, live_from: 3, recovery: Recovery::Resumed });
    scene.publish("r", &["d"]).await;
    assert_eq!(stream.next().await, "2 b");
    scene.publish("r", &["e"]).await;
    assert_eq!(stream.next_all(3).await, ["3 c", "4 d", "5 e"]);
    scene.publish("r", &["f"]).await;
    assert_eq!(stream.next().await, "6 f");
    let (_, start) = scene.subscribe(Some(7)).await;
    assert_eq!(start, Start { cursor: 6, live_from: 6, recovery: Recovery::Unrecoverable });
}

#[tokio::test]
async fn what_the_journal_let_go_meanwhile_is_a_gap() {
    let scene = Scene::new(2, 1_000);
    scene.publish("r", &["a", "b"]).await;
    scene.deliver();
    let (mut stream, start) = scene.subscribe(Some(1)).await;
    assert_eq!(start.recovery, Recovery::Resumed);
    scene.publish("r", &["c", "d", "e"]).await;
    assert_eq!(stream.next_all(3).await, ["2 to 3 are gone", "4 d", "5 e"]);
}

// the client takes nothing until everything is delivered; what is kept is read later
#[tokio::test]
async fn a_stream_that_goes_on_without_says_how_much_did_not_fit_in_its_place() {
    let scene = Scene::new(100, 12);
    scene.deliver();
    let (mut stream, _) = scene.subscribe(None).await;
    scene.publish("r", &["a"]).await;
    assert_eq!(stream.next().await, "1 a");
    for message in ["one", "two", "three", "four"] {
        scene.journal.relay(said(message)).await.expect("relayed");
    }
    scene.publish("r", &["b", "c"]).await;
    scene.all_delivered().await;
    assert_eq!(stream.next_all(5).await, ["ana: one", "ana: two", "2 dropped", "2 b", "3 c"]);
}

#[tokio::test]
async fn what_expired_while_it_waited_is_left_out() {
    let scene = Scene::new(100, 1_000);
    scene.deliver();
    let (mut stream, _) = scene.subscribe(None).await;
    scene.publish("r", &["a"]).await;
    assert_eq!(stream.next().await, "1 a");
    scene.publish_until("r", &["b"], Some(scene.clock.wall() + TimeDelta::minutes(1))).await;
    scene.publish("r", &["c"]).await;
    scene.all_delivered().await;
    scene.clock.step(TimeDelta::minutes(1));
    assert_eq!(stream.next().await, "3 c");
}

#[tokio::test]
async fn a_stream_ends_for_the_reason_that_somebody_gave_and_hears_nothing_more() {
    let scene = Scene::new(100, 1_000);
    let receivers = || scene.rooms.receivers(&audience("r").into());
    let ((mut stream, _), (other, _)) = (scene.subscribe(None).await, scene.subscribe(None).await);
    assert_eq!(receivers(), 2);
    stream.0.subscriber().end("enough");
    assert_eq!(receivers(), 1, "it has left, though nobody asked it yet");
    let end = stream.try_next(|_| Ok(())).await;
    assert!(matches!(end, Err(StreamEnd::Because("enough"))), "{end:?}");
    let subscriber = Arc::clone(other.0.subscriber());
    drop(other);
    assert_eq!(receivers(), 0);
    timeout(Duration::from_secs(60), subscriber.gone()).await.expect("it is gone");
}

#[tokio::test]
async fn a_stream_that_may_not_go_on_gives_nothing_that_waits() {
    let scene = Scene::new(100, 1_000);
    scene.publish("r", &["a"]).await;
    let (mut stream, _) = scene.subscribe(Some(0)).await;
    let end = stream.try_next(|filter| Err(if filter.audiences().is_some() { "forbidden" } else { "" })).await;
    assert!(matches!(end, Err(StreamEnd::Because("forbidden"))), "{end:?}");
}

#[tokio::test]
async fn a_stream_gives_all_that_was_delivered_before_the_service_goes_away() {
    let scene = Scene::new(100, 1_000);
    scene.publish("r", &["a", "b"]).await;
    let (mut stream, _) = scene.subscribe(Some(0)).await;
    scene.source.stopping.cancel();
    assert_eq!(stream.next_all(2).await, ["1 a", "2 b"]);
    let end = stream.try_next(|_| Ok(())).await;
    assert!(matches!(end, Err(StreamEnd::GoingAway)), "{end:?}");
}

// time stands still but for who waits for it
#[tokio::test(start_paused = true)]
async fn only_who_takes_nothing_of_what_waits_is_too_slow() {
    const TIME: Duration = Duration::from_secs(30);
    let scene = Scene::new(100, 1_000);
    scene.deliver();
    let (mut stream, _) = scene.subscribe(None).await;
    scene.publish("r", &["a"]).await;
    assert_eq!(stream.next().await, "1 a");
    let subscriber = Arc::clone(stream.0.subscriber());
    let slow = |time| timeout(time, subscriber.until_too_slow(TIME));
    slow(10 * TIME).await.expect_err("nothing waits");
    timeout(TIME, stream.0.next(|_| Ok(()))).await.expect_err("nothing comes, and it is asked no longer");
    scene.publish("r", &["b"]).await;
    scene.all_delivered().await;
    slow(2 * TIME).await.expect("it takes nothing");
    assert_eq!(stream.next().await, "2 b");
    slow(10 * TIME).await.expect_err("it took what waited");
}

// some transports say first how much they bring
#[tokio::test]
async fn how_much_was_missed_is_known_before_it_is_given() {
    let scene = Scene::new(100, 1_000);
    scene.publish("r", &["a", "b"]).await;
    scene.publish("other", &["not for it"]).await;
    scene.publish("r", &["c"]).await;
    let (mut stream, start) = scene.subscribe(Some(1)).await;
    scene.publish("r", &["later"]).await;
    assert_eq!(stream.0.missed(&start).await.expect("it can be read"), Some(2));
    assert_eq!(stream.next_all(3).await, ["2 b", "4 c", "5 later"]);
    let subscribed = scene.source.subscribe(Lines, Filter::EVERYTHING, Some(&scene.position(1))).await;
    let (mut everything, beginning) = subscribed.expect("the journal answers");
    assert_eq!(everything.missed(&beginning.start).await.expect("it can be read"), None);
}

// gaps that follow each other are one to a stream that ends with the first
#[tokio::test]
async fn gaps_with_nothing_between_them_have_one_end() {
    let scene = Scene::new(100, 1_000);
    let (mut stream, _) = scene.subscribe(None).await;
    let subscriber = stream.0.subscriber();
    let line = |text: &str| subscriber.transport().kept(&notification(text));
    let page = |frames, lost| crate::delivery::outbox::CatchUpPage {
        frames,
        more: false,
        bounds: crate::journal::Bounds::of_consecutive(1, 9),
        lost,
    };
    subscriber.fill(page(vec![(7, member::Waiting::Item(line("seven")))], vec![2..=3, 5..=6, 9..=9]));
    assert_eq!(stream.next().await, "2 to 3 are gone");
    assert_eq!(stream.0.end_of_gap(3), 6);
    assert_eq!(stream.next_all(2).await, ["7 seven", "9 to 9 are gone"]);
    assert_eq!(stream.0.end_of_gap(9), 9);
}

fn notification(name: &str) -> Arc<Notification> {
    Arc::new(Notification::new(Epoch::from_text("x"), 7, event(name), Audiences::from(audience("r")), None))
}
