//! WebSockets over TLS: the law of delivery holds as without.

use std::{num::NonZeroUsize, time::Duration};

use serde_json::json;
use tokio::{io::AsyncWriteExt, sync::oneshot};

use super::{HTTP_1, TlsApp, TlsClient};
use crate::support::{eventually, within};

/// How many notifications of [`LARGE`] fill every buffer between the server and a client that does not read, and then some:
/// more than 4 MiB of a sender's and 6 MiB of a receiver's, the most that Linux grants by itself.
const FLOOD: usize = 320;

/// How much is in a large notification: several TLS records.
const LARGE: usize = 64 * 1024;

async fn with_short_queue(change: impl FnOnce(&mut exposia_notifications::config::Config)) -> TlsApp {
    TlsApp::start_with(|config| {
        config.egress.send_queue_bytes = NonZeroUsize::new(4096).expect("not zero");
        change(config);
    })
    .await
}

async fn flood(app: &TlsApp) -> Vec<u64> {
    let filler = "x".repeat(LARGE);
    let mut places = Vec::with_capacity(FLOOD);
    for _ in 0..FLOOD {
        places.push(app.publish(json!({ "filler": filler })).await);
    }
    places
}

// a lagging receiver is filled from the journal: everything, in order, once
#[tokio::test]
async fn a_reader_that_lags_and_reads_on_gets_everything() {
    let app = with_short_queue(|_| {}).await;
    let mut ana = app.subscribe("ana").await;
    let places = flood(&app).await;
    assert_eq!(ana.next_seqs(FLOOD).await, places);
    ana.expect_nothing_before(app.publish(json!({})).await).await;
}

// what the journal no longer holds is told as `gap`
#[tokio::test]
async fn what_is_gone_when_a_lagging_reader_reads_on_is_stated_as_a_gap() {
    let app = with_short_queue(|config| config.journal.max_entries = NonZeroUsize::new(10).expect("not zero")).await;
    let mut ana = app.subscribe("ana").await;
    let places = flood(&app).await;
    let (mut covered, mut gaps) = (Vec::new(), 0);
    while covered.len() < places.len() {
        let message = ana.next().await;
        match (message["seq"].as_u64(), message["from"].as_u64(), message["to"].as_u64()) {
            (Some(seq), None, None) => covered.push(seq),
            (None, Some(from), Some(to)) => {
                covered.extend(from..=to);
                gaps += 1;
            }
            _ => panic!("neither a notification nor a gap: {message}"),
        }
    }
    assert_eq!(covered, places);
    assert!(gaps > 0, "nothing was lost, so nothing was tested");
}

// a reader that never reads is closed with 4101, and another goes on undisturbed
#[tokio::test]
async fn a_reader_that_never_reads_is_closed() {
    let app = with_short_queue(|config| {
        config.egress.slow_timeout = Duration::from_secs(2);
        config.egress.ping_interval = Duration::from_secs(1);
    })
    .await;
    let mut luz = app.subscribe("luz").await;
    let mut slow = app.subscribe("slow?room=b").await;
    let (done, is_done) = oneshot::channel();
    let closed = async {
        // It reads when its time is over, and before the server hangs up.
        app.until_connected(1).await;
        let code = slow.close_code().await;
        done.send(()).expect("it is waited for");
        code
    };
    let hearing = async {
        let received = luz.next_seqs(FLOOD).await;
        luz.answer_pings_until(is_done).await.expect("it is told");
        received
    };
    let (places, received, code) = tokio::join!(flood(&app), hearing, closed);
    assert_eq!((received, code), (places, 4101));
    luz.expect_nothing_before(app.publish(json!({})).await).await;
}

// a burst of a client, more than a turn takes, is answered in full: what TLS has decrypted already the socket does not announce
#[tokio::test]
async fn a_burst_is_answered_in_full() {
    const BURST: usize = 2_000;
    let app = with_short_queue(|config| config.egress.message_rate = "off".parse().expect("a limit")).await;
    let mut ana = app.subscribe("ana?room=b").await;
    // Many in one record, so that they are decrypted together.
    ana.send_burst(&json!({ "type": "ping" }).to_string(), BURST).await;
    for number in 0..BURST {
        assert_eq!(ana.next().await["type"], "pong", "{number}");
    }
}

// messages of clients that take many records, and such that share one, come through whole
#[tokio::test]
async fn messages_of_any_size_come_through() {
    let app = TlsApp::start_with(|config| config.egress.max_chat_bytes = config.egress.max_message_bytes).await;
    let mut luz = app.subscribe("luz?room=b").await;
    let mut ana = app.subscribe("ana?room=b").await;
    luz.next_of_type("user_joined").await;
    for size in [1, 100, 125, 126, 4_096, 16_383, 16_384, 16_385, 65_536, 200_000] {
        let text = "ñ".repeat(size / 2 + 1);
        ana.send(json!({ "type": "chat_message", "message": text })).await;
        assert_eq!(luz.next_of_type("chat_message").await["message"], text, "{size}");
    }
}

// a client that closes its half, with a word of TLS or without, is let go
#[tokio::test]
async fn whoever_hangs_up_is_let_go() {
    let app = TlsApp::start().await;
    let mut polite: TlsClient = app.subscribe("polite?room=b").await;
    let rude = app.subscribe("rude?room=c").await;
    app.until_connected(2).await;
    within("a farewell", polite.half_close()).await;
    app.until_connected(1).await;
    drop(rude);
    app.until_connected(0).await;
    // Before it was a WebSocket, too.
    let mut half = app.connect(&[HTTP_1]).await;
    half.shutdown().await.expect("the connection is open");
    let mut rest = Vec::new();
    within("the end", tokio::io::AsyncReadExt::read_to_end(&mut half, &mut rest))
        .await
        .expect("an end with a word of TLS");
}

// the end of the server is told as without TLS: what waits first, then 1001, and at last that nothing more comes
#[tokio::test]
async fn when_the_server_ends_clients_are_told_to_come_back() {
    let app = TlsApp::start().await;
    let mut ana = app.subscribe("ana").await;
    let place = app.publish(json!({})).await;
    let running = app.app.begin_shutdown();
    ana.expect_nothing_before(place).await;
    assert_eq!(ana.close_code().await, 1001);
    ana.ends().await;
    eventually("the server ended", async || running.is_finished().then_some(())).await;
}
