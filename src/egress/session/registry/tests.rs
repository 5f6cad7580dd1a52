use super::*;
use crate::{
    domain::UserId,
    egress::session::tests::{Scene, token},
    gate::SubscribeScope,
};

/// Whoever says that it is this user.
fn owner(user: &str) -> Option<Owner> {
    Some(Owner::new(&SubscribeScope::OPEN, UserId::parse(user).ok()))
}

/// Whoever has a token that says so.
fn subject(user: &str) -> Option<Owner> {
    Some(Owner::new(&token(Some(user), None), UserId::parse(user).ok()))
}

// whoever gives up its handshake keeps the id from nobody
#[tokio::test]
async fn a_claim_holds_until_it_is_dropped() {
    let clients = Clients::new(10);
    let id = ClientId::parse("tab").expect("a name");
    let claim =
        async |owner| clients.claim(&id, owner).await.map_err(|taken| assert_eq!(taken, ClientIdTaken::OtherUser));
    let first = claim(owner("ana")).await.expect("free");
    let second = claim(owner("ana")).await.expect("of the same user");
    for other in [owner("luis"), subject("ana"), owner("")] {
        assert!(claim(other).await.is_err());
    }
    drop(first);
    assert!(claim(owner("luis")).await.is_err(), "the other handshake goes on");
    drop(second);
    let luis = claim(owner("luis")).await.expect("free again");
    assert!(claim(owner("ana")).await.is_err());
    drop(luis);
    assert!(!clients.0.registry.lock().client_ids.has_claims(), "nothing is left behind");
}

#[tokio::test]
async fn where_nobody_has_a_token_whoever_knows_the_id_may_claim_it() {
    let clients = Clients::new(10);
    let id = ClientId::parse("tab").expect("a name");
    let _first = clients.claim(&id, None).await.expect("free");
    clients.claim(&id, None).await.expect("anybody");
}

/// The session that holds a client id.
fn holder(clients: &Clients, client_id: &str) -> Option<ConnectionId> {
    clients.get(&ClientId::parse(client_id).expect("a name")).map(|holder| holder.session().id())
}

// a stream of events names its client as its tab's WebSocket does
#[tokio::test]
async fn whoever_claims_no_client_id_replaces_nobody() {
    let scene = Scene::new();
    let handles = [(); 3].map(|()| scene.session("tab", "", SubscribeScope::OPEN));
    let [first, middle, last] = handles.each_ref().map(|handle| handle.session.id());
    for (handle, holds_id) in handles.iter().zip([false, true, false]) {
        assert_eq!(scene.enter(handle, holds_id).await, Ok(None));
    }
    assert_eq!((scene.clients.len(), holder(&scene.clients, "tab")), (3, Some(middle)));
    assert!(first < middle && middle < last);
    for handle in [&handles[0], &handles[2]] {
        assert!(!scene.clients.leave(&handle.session), "it held no id");
        assert_eq!(holder(&scene.clients, "tab"), Some(middle));
    }
    assert!(scene.clients.leave(&handles[1].session));
    assert!(scene.clients.is_empty() && holder(&scene.clients, "tab").is_none());
}

#[tokio::test]
async fn a_later_connection_takes_the_client_id_over() {
    let scene = Scene::new();
    let [old, new] = ["attempt=1", "attempt=2"].map(|query| scene.session("tab", query, SubscribeScope::OPEN));
    assert_eq!(scene.enter(&old, true).await, Ok(None));
    assert_eq!(scene.enter(&new, true).await, Ok(Some(old.session.id())));
    assert_eq!((scene.clients.len(), holder(&scene.clients, "tab")), (1, Some(new.session.id())));
    assert!(!scene.clients.leave(&old.session), "its id is another's");
    assert_eq!(scene.enter(&old, true).await, Err(ClientIdTaken::Newer));
    assert_eq!((scene.clients.len(), holder(&scene.clients, "tab")), (1, Some(new.session.id())));
}

#[tokio::test]
async fn a_walk_comes_to_every_session_once_and_ends() {
    let scene = Scene::new();
    let handles = scene.enter_many(300).await;
    let (mut walk, mut seen, mut pages) = (scene.clients.walk_sessions(), Vec::new(), 0);
    while let Some(some) = walk.next().await {
        seen.extend(some.iter().map(|handle| handle.session().id()));
        pages += 1;
        // However many come and go meanwhile.
        scene.enter(&scene.session(&format!("late-{pages}"), "", SubscribeScope::OPEN), true).await.expect("free");
        scene.clients.leave(&handles[200 + pages].session);
    }
    // One went before the walk had come to it, two when it had.
    let due: Vec<_> =
        handles.iter().map(|handle| handle.session.id()).filter(|id| *id != handles[201].session.id()).collect();
    assert_eq!((seen, pages), (due, 3));
}

#[tokio::test]
async fn the_statistics_walk_over_those_who_hold_their_names() {
    let scene = Scene::new();
    let handles = scene.enter_many(300).await;
    let (mut walk, mut names) = (scene.clients.walk(None), Vec::new());
    while let Some(some) = walk.next().await {
        names.extend(some.into_iter().map(|client| client.client_id));
    }
    let holders = handles.iter().enumerate().filter(|(number, _)| number % 3 != 0);
    let due: Vec<_> = holders.map(|(_, handle)| handle.session.client_id().clone()).rev().collect();
    assert_eq!(names, due);
    let (mut walk, behind) = (scene.clients.walk(Some(due[149].clone())), due.len() - 150);
    assert_eq!(walk.next().await.expect("some").len(), behind);
    assert!(walk.next().await.is_none());
}
