//! The console page and the browser client.

use exposia_notifications::{
    config::{Config, Environment},
    gate::SubscriberAuth,
};

use crate::{
    clients::assert_succeeds,
    support::{Server, TestApp},
};

const FOLDER: &str = "tests/browser";

// the browser client, the console, and the test page of the original in a headless browser
#[tokio::test]
#[ignore = "needs node, npm, chromium and nginx; scripts/test runs it"]
async fn the_console_works_in_a_browser() {
    let server = Server::start(&[]).await;
    assert_succeeds(&server, FOLDER, "npm", &["ci", "--no-audit", "--no-fund"]).await;
    assert_succeeds(&server, FOLDER, "npm", &["test"]).await;
    assert_succeeds(&server, FOLDER, "npm", &["run", "test:console"]).await;
    assert_succeeds(&server, FOLDER, "npm", &["run", "test:page"]).await;
    assert_succeeds(&server, FOLDER, "npm", &["run", "test:original"]).await;
    // A browser always offers to compress.
    let compressing = Server::start(&[("PERMESSAGE_DEFLATE", "on")]).await;
    assert_succeeds(&compressing, FOLDER, "npm", &["run", "test:console"]).await;
    assert_succeeds(&compressing, FOLDER, "npm", &["run", "test:original"]).await;
}

// a proxy may have the console below a path of its own
#[tokio::test]
async fn the_page_names_its_parts_by_relative_addresses() {
    let app = TestApp::start().await;
    for (page, script) in [("/console", "./console/console.js"), ("/console/", "./console.js")] {
        let answer = app.get(page).await;
        let text = answer.text();
        assert!(text.contains(&format!("src=\"{script}\"")), "{page}");
        assert!(!text.contains("=\"/"), "{page}: an absolute address");
    }
}

// the token that everybody knows is filled in, and no other
#[tokio::test]
async fn the_page_knows_only_the_token_that_everybody_knows() {
    const FILLED_IN: &str = "id=\"token\" value=";
    let token = |config: &mut Config, tokens: &str| {
        config.gate.tokens = tokens.split(',').map(|token| token.parse().expect("a token")).collect();
    };
    let open = TestApp::start_with(|config| token(config, "another,dev")).await;
    assert!(open.get("/console").await.text().contains(&format!("{FILLED_IN}\"dev\"")));
    let own = TestApp::start_with(|config| token(config, "another")).await;
    assert!(!own.get("/console").await.text().contains(FILLED_IN));
    let production = TestApp::start_with(|config| {
        config.environment = Environment::Production;
        config.gate.allowed_origins = vec!["*".parse().expect("an origin")];
        config.gate.subscriber_auth = Some(SubscriberAuth::Open);
        token(config, "a token of its own, long enough");
    });
    assert!(!production.await.get("/console").await.text().contains(FILLED_IN));
}
