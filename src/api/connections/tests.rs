//! Who gets a place, who makes room, and who has hung.

use super::*;
use std::time::Duration;

const CAPS: Caps = Caps { requests: 2, reserve: 1, streams: 1 };

fn served(connections: &Connections) -> Connection {
    match connections.admit() {
        Admission::Served(connection) => connection,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_makes_room_and_busy_ones_never_do() {
    let connections = Connections::new(CAPS);
    let first = served(&connections);
    drop(first.request());
    tokio::time::advance(Duration::from_secs(1)).await;
    let second = served(&connections);
    drop(second.request());
    let third = served(&connections);
    assert!(first.finish_token().is_cancelled());
    assert!(!second.finish_token().is_cancelled());
    assert_eq!(connections.counts(), Counts { requests: 2, leaving: 1, ..Counts::default() });
    let _busy = (second.request(), third.request());
    let Admission::Reserve(silent) = connections.admit() else { panic!("all are busy") };
    assert!(!second.finish_token().is_cancelled() && !third.finish_token().is_cancelled());
    assert_eq!(connections.counts(), Counts { requests: 2, reserve: 1, streams: 0, leaving: 1 });
    // The reserve goes round, up to what may be on its way out.
    let Admission::Reserve(_next) = connections.admit() else { panic!("the silent one makes room") };
    assert!(silent.kill_token().is_cancelled());
    assert_eq!(connections.counts(), Counts { requests: 2, reserve: 1, streams: 0, leaving: 2 });
    assert!(matches!(connections.admit(), Admission::Refused));
}

#[tokio::test(start_paused = true)]
async fn one_that_has_just_come_is_spared_but_not_for_long() {
    let connections = Connections::new(CAPS);
    let (first, _second) = (served(&connections), served(&connections));
    let Admission::Reserve(reserve) = connections.admit() else { panic!("both are new") };
    drop(reserve);
    tokio::time::advance(NEW_SPARED_FOR).await;
    let _third = served(&connections);
    assert!(first.finish_token().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn streams_take_no_place_of_requests_and_have_their_own_cap() {
    let connections = Connections::new(CAPS);
    let reader = served(&connections);
    let request = reader.request();
    let stream = reader.stream().unwrap();
    drop(request);
    assert_eq!(connections.counts(), Counts { streams: 1, ..Counts::default() });
    let other = served(&connections);
    assert_eq!(other.stream().unwrap_err(), StreamsFull);
    drop(stream);
    assert!(other.stream().is_ok());
    drop((reader, other));
    assert_eq!(connections.counts(), Counts::default());
}

#[tokio::test(start_paused = true)]
async fn only_a_socket_that_takes_nothing_is_hung() {
    const PATIENCE: Patience = Patience { write: Duration::from_secs(20), head: Duration::from_secs(10) };
    let connections = Connections::new(CAPS);
    let (deaf, slow) = (served(&connections), served(&connections));
    deaf.pulse().blocked();
    slow.pulse().blocked();
    tokio::time::advance(Duration::from_secs(15)).await;
    deaf.pulse().blocked();
    slow.pulse().flowed();
    slow.pulse().blocked();
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(connections.kill_hung(PATIENCE), 1);
    assert!(deaf.kill_token().is_cancelled() && !slow.kill_token().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_head_has_its_time_from_the_first_byte_and_a_body_is_no_head() {
    const PATIENCE: Patience = Patience { write: Duration::from_secs(20), head: Duration::from_secs(10) };
    let connections = Connections::new(CAPS);
    let (loris, upload) = (served(&connections), served(&connections));
    loris.pulse().heard();
    upload.pulse().heard();
    let request = upload.request();
    tokio::time::advance(Duration::from_secs(9)).await;
    loris.pulse().heard();
    upload.pulse().heard();
    assert_eq!(connections.kill_hung(PATIENCE), 0);
    tokio::time::advance(Duration::from_secs(60)).await;
    drop(request);
    assert_eq!(connections.kill_hung(PATIENCE), 1);
    assert!(loris.kill_token().is_cancelled());
}
