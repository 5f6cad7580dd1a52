use super::*;

/// Sixteen places, of which four may be quiet and eight may be of one address; 10.0.0.0/8 are proxies.
fn sixteen(over_http: bool) -> (Places, Arc<Mutex<Vec<Arc<str>>>>) {
    of_all(16, over_http)
}

fn of_all(max: usize, over_http: bool) -> (Places, Arc<Mutex<Vec<Arc<str>>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let on_full = OnFull::new({
        let told = Arc::clone(&told);
        move |_, text: &Arc<str>| told.lock().push(Arc::clone(text))
    });
    let proxies = ["10.0.0.0/8".parse().expect("a network")];
    let max = NonZeroUsize::new(max).expect("not zero");
    let places = if over_http { Places::http } else { Places::grpc };
    (places(max, &proxies, &on_full), told)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn take(places: &Places, from: &str) -> Place {
    places.take(address(from)).expect("a place")
}

/// Which of them were closed, by their place in the list.
fn closed(all: &[Place]) -> Vec<usize> {
    (0..all.len()).filter(|at| all[*at].standing().is_closed()).collect()
}

#[test]
fn the_oldest_quiet_one_is_closed_for_a_newcomer() {
    let (places, told) = sixteen(true);
    let mut all: Vec<_> = (0..4).map(|_| take(&places, "127.0.0.1")).collect();
    assert_eq!((closed(&all), told.lock().len()), (vec![], 0));
    for newcomer in 0..6 {
        all.push(take(&places, "127.0.0.2"));
        assert_eq!(closed(&all), (0..=newcomer).collect::<Vec<_>>());
    }
    assert!(told.lock().iter().all(|text| text.starts_with("MAX_HTTP_CONNECTIONS: a quarter of the connections")));
    assert_eq!(told.lock().len(), 6);
}

#[test]
fn whoever_spoke_is_not_among_the_quiet() {
    let (places, _) = sixteen(true);
    let all: Vec<_> = (0..4).map(|_| take(&places, "127.0.0.1")).collect();
    let first = all[0].standing().begin(true).expect("it is open");
    let newcomer = take(&places, "127.0.0.1");
    assert_eq!(closed(&all), [] as [usize; 0], "there was a place again");
    drop(first);
    let second = take(&places, "127.0.0.1");
    assert_eq!(closed(&all), [1], "idle is not quiet");
    assert!(all[1].standing().begin(true).is_none(), "what comes too late is not begun");
    drop((newcomer, second));
}

#[test]
fn an_address_has_half_of_the_quiet_places() {
    let (places, told) = of_all(128, true);
    let one: Vec<_> = (1..18).map(|host| take(&places, &format!("2001:db8::{host:x}"))).collect();
    assert_eq!(closed(&one), [0], "its own oldest one");
    let other = take(&places, "2001:db8:0:1::1");
    assert!(!other.standing().is_closed() && closed(&one) == [0]);
    assert!(told.lock()[0].contains("are of this address"));
    for shared in ["127.0.0.1", "10.2.3.4", "::ffff:10.2.3.4"] {
        let (places, _) = sixteen(true);
        let all: Vec<_> = (0..4).map(|_| take(&places, shared)).collect();
        assert_eq!(closed(&all), [] as [usize; 0], "many stand behind {shared}");
    }
}

#[test]
fn an_address_has_half_of_all_places() {
    let (places, told) = sixteen(true);
    let mut turns = Vec::new();
    let mut all: Vec<_> = (0..8)
        .map(|_| {
            let place = take(&places, "192.0.2.1");
            turns.push(place.standing().begin(true).expect("it is open"));
            place
        })
        .collect();
    assert!(places.take(address("192.0.2.1")).is_none(), "all of its own are busy");
    assert!(told.lock()[0].contains("this address has half") && told.lock()[0].contains("busy"));
    drop(turns.remove(3));
    all.push(take(&places, "192.0.2.1"));
    assert_eq!(closed(&all), [3], "the one that is idle");
    drop(take(&places, "192.0.2.2"));
}

#[test]
fn the_one_that_was_idle_longest_is_closed_when_all_places_are_taken() {
    let (places, told) = sixteen(true);
    let begin = |place: &Place| place.standing().begin(true).expect("it is open");
    let mut all = Vec::new();
    let mut turns = Vec::new();
    for _ in 0..16 {
        all.push(take(&places, "127.0.0.1"));
        turns.push(Some(begin(&all[all.len() - 1])));
    }
    assert!(places.take(address("127.0.0.1")).is_none(), "all are busy");
    for at in [5, 2, 9] {
        turns[at] = None;
    }
    // It speaks and rests again, and so is the youngest.
    drop(begin(&all[5]));
    for (newcomer, expected) in [vec![2], vec![2, 9], vec![2, 5, 9]].into_iter().enumerate() {
        let place = take(&places, "127.0.0.1");
        turns.push(Some(begin(&place)));
        all.push(place);
        assert_eq!(closed(&all), expected, "{newcomer}");
    }
    assert!(places.take(address("127.0.0.1")).is_none(), "all are busy");
    assert_eq!(told.lock().iter().filter(|text| text.contains("busy")).count(), 2);
}

#[test]
fn few_places_have_room_for_clients_of_one_machine_that_come_at_once() {
    for (max, at_once) in [(1, 1), (2, 2), (4, 4), (15, 4), (16, 4), (40, 8)] {
        let (places, told) = of_all(max, false);
        let all: Vec<_> = (0..at_once).map(|_| take(&places, "192.0.2.1")).collect();
        assert_eq!((closed(&all), told.lock().len()), (vec![], 0), "{max}");
    }
}

#[test]
fn whoever_calls_over_grpc_keeps_its_place_and_whoever_does_not_goes() {
    let (places, _) = sixteen(false);
    let mut turns = Vec::new();
    let known: Vec<_> = (0..16)
        .map(|_| {
            let place = take(&places, "127.0.0.1");
            let turn = place.standing().begin(false).expect("it is open");
            turn.accept();
            turns.push(turn);
            place
        })
        .collect();
    assert!(places.take(address("127.0.0.1")).is_none(), "nobody is closed for a newcomer");
    assert_eq!(closed(&known), [] as [usize; 0]);
    drop(turns.remove(7));
    drop(turns.remove(2));
    let newcomer = take(&places, "127.0.0.1");
    assert_eq!(closed(&known), [7], "the one without a call for longest");
    drop(newcomer);
}

#[tokio::test]
async fn nobody_waits_for_an_address_that_has_all_that_it_may_have() {
    let (places, told) = sixteen(false);
    let mut turns = Vec::new();
    let all: Vec<_> = (0..8)
        .map(|_| {
            let place = take(&places, "192.0.2.1");
            turns.push(place.standing().begin(true).expect("it is open"));
            place
        })
        .collect();
    assert!(places.wait(address("192.0.2.1")).await.is_none());
    assert!(told.lock()[0].contains("this address has half"));
    assert!(places.wait(address("192.0.2.2")).await.is_some());
    drop(turns.remove(0));
    assert!(places.wait(address("192.0.2.1")).await.is_some(), "one of its own is idle");
    assert_eq!(closed(&all), [0]);
}

#[test]
fn whoever_is_short_of_descriptors_is_told_of_them() {
    let (places, told) = sixteen(true);
    assert!(places.take_over(address("127.0.0.1")).is_none(), "nobody can go");
    assert!(told.lock()[0].contains("file descriptors") && told.lock()[0].contains("LimitNOFILE"));
    let idle = take(&places, "127.0.0.1");
    drop(idle.standing().begin(true));
    let newcomer = places.take_over(address("127.0.0.1")).expect("a place");
    assert!(idle.standing().is_closed() && !newcomer.standing().is_closed());
    assert_eq!(told.lock().len(), 1, "nobody was refused");
}

#[test]
fn whoever_gives_way_does_so_until_it_stays() {
    let (places, _) = of_all(1, true);
    let place = take(&places, "127.0.0.1");
    let turn = place.standing().begin(true).expect("it is open");
    place.standing().give_way();
    place.standing().stay();
    assert!(places.take(address("127.0.0.1")).is_none(), "it stays");
    place.standing().give_way();
    let second = place.standing().begin(true).expect("it is open");
    let _newcomer = take(&places, "127.0.0.1");
    assert!(place.standing().is_closed(), "what it asked for besides changes nothing");
    drop((turn, second));
}

#[test]
fn whoever_was_refused_is_as_quiet_and_as_old_as_before() {
    let (places, _) = sixteen(false);
    let mut all: Vec<_> = (0..4).map(|_| take(&places, "127.0.0.1")).collect();
    let trial = all[0].standing().begin(false).expect("it is open");
    all.push(take(&places, "127.0.0.1"));
    all.push(take(&places, "127.0.0.1"));
    assert_eq!(closed(&all), [1], "not while its call may be accepted");
    drop(trial);
    all.push(take(&places, "127.0.0.1"));
    assert_eq!(closed(&all), [0, 1]);
}

#[tokio::test]
async fn whoever_waits_gets_the_next_place() {
    let (places, _) = sixteen(false);
    let mut known = Vec::new();
    for _ in 0..16 {
        let place = take(&places, "127.0.0.1");
        let turn = place.standing().begin(true).expect("it is open");
        known.push((place, turn));
    }
    let waiting = places.wait(address("127.0.0.1"));
    tokio::pin!(waiting);
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    drop(known.pop());
    assert!(waiting.await.is_some());
}

#[test]
fn nothing_is_left_of_those_who_went() {
    let (places, _) = sixteen(true);
    for _ in 0..100 {
        let place = take(&places, "192.0.2.1");
        drop(place.standing().begin(true));
        let late = place.standing().begin(true);
        drop(place);
        drop(late);
    }
    assert!(places.0.taken.lock().is_empty());
}
