//! Client ids as nobody would choose them.

use serde_json::json;

use crate::support::{TestApp, refusal, timeless};

// any text is a client id, and comes back as it was in every message and page that names it
#[tokio::test]
async fn an_odd_client_id_is_told_as_it_is() {
    let app = TestApp::start().await;
    let mut luz = app.connect("luz").await;
    let cases = [
        ("%22comillas%22%5C", "\"comillas\"\\"),
        ("%3Cb%3E%26amp%3B", "<b>&amp;"),
        ("a%2Fb", "a/b"),
        ("%25", "%"),
        ("a+b", "a+b"),
        ("%20%20", "  "),
        (".", "."),
        ("null", "null"),
        ("0", "0"),
        ("%7Bclient_id%7D", "{client_id}"),
        ("%C3%B1and%C3%BA-%F0%9F%98%80", "ñandú-😀"),
        ("%EF%BB%BF", "\u{feff}"),
        ("a%3Fb%23c", "a?b#c"),
        ("a;b=1", "a;b=1"),
    ];
    for (address, client_id) in cases {
        let mut odd = app.connect(address).await;
        assert_eq!(odd.established["client_id"], client_id);
        assert_eq!(odd.established["message"], format!("Conectado exitosamente como {client_id}"));
        odd.send(json!({"type": "chat_message", "message": client_id})).await;
        let joined = timeless(luz.next().await);
        let told = format!("Usuario {client_id} se unió a la sala");
        assert_eq!((&joined["client_id"], &joined["message"]), (&json!(client_id), &json!(told)));
        assert_eq!(luz.next().await["client_id"], client_id);
        let stats = app.stats().await;
        assert!(stats["clients"].as_array().expect("a list").iter().any(|client| client["client_id"] == client_id));
        odd.close().await;
        assert_eq!(luz.next().await["message"], format!("Usuario {client_id} salió de la sala"));
    }
}

// what is no path of a client, or no name, is refused before there is a connection
#[tokio::test]
async fn what_is_no_client_id_is_refused() {
    let app = TestApp::start().await;
    for (address, status) in [("", 404), ("a/b", 404), ("%0A", 422), ("%00", 422), ("%E2%80%AE", 422)] {
        assert_eq!(refusal(app.http(), address).await.status(), status, "{address}");
    }
    let broken = refusal(app.http(), "%FF").await.status().as_u16();
    assert!((400..500).contains(&broken), "{broken}");
}
