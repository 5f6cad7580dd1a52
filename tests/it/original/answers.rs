//! Answers over HTTP: the fields that the original had come in its order, with its texts.

use serde_json::json;

use crate::support::{TestApp, assert_recent};

// wire-contract, HTTP: a `timestamp` or `source` of `""` counts as absent
#[tokio::test]
async fn an_empty_timestamp_or_source_counts_as_absent() {
    let app = TestApp::start().await;
    let mut ana = app.connect("ana").await;
    for durability in ["fsync", "ephemeral"] {
        let body = json!({"event": "e", "payload": {}, "timestamp": "", "source": "", "durability": durability});
        assert_eq!(app.notify(body.to_string()).await.status, 200);
        let notification = ana.next().await;
        assert_recent(&notification["timestamp"]);
        assert_eq!(notification["source"], "unknown");
    }
    let body = json!({"event": "e", "payload": {"timestamp": "", "source": ""}, "timestamp": " ", "source": " "});
    assert_eq!(app.notify(body.to_string()).await.status, 200);
    let notification = ana.next().await;
    assert_eq!((&notification["timestamp"], &notification["source"]), (&json!(" "), &json!(" ")));
    assert_eq!(notification["payload"], json!({"timestamp": "", "source": ""}));
    let kept = app.get("/history").await.json();
    assert_recent(&kept["history"][0]["timestamp"]);
    assert_eq!(kept["history"][0]["source"], "unknown");
}
