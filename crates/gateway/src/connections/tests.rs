//! Who makes room, and who stays.

use super::*;

const HERE: [u8; 4] = [127, 0, 0, 1];

/// Connections whose tasks wait for ever.
fn open(
    connections: &Arc<Connections>,
    ip: [u8; 4],
) -> Option<(Open, tokio::task::JoinHandle<()>)> {
    let open = connections.admit(Source::of(ip.into()))?;
    let task = tokio::spawn(std::future::pending());
    connections.started(open.id(), task.abort_handle());
    Some((open, task))
}

#[tokio::test]
async fn the_quietest_makes_room_and_one_that_is_owed_an_answer_stays() {
    let connections = Connections::new(4);
    let (mut opened, mut tickets) = (vec![], vec![]);
    for peer in 1..=4 {
        let (open, task) = open(&connections, [10, 0, 0, peer]).unwrap();
        if peer != 3 {
            tickets.push(open.link.ask());
            tickets.last().unwrap().waits_for(Wait::Answer);
        }
        opened.push((open, task));
    }
    let fifth = open(&connections, [10, 0, 0, 5]).expect("the third makes room");
    fifth.0.link.ask().waits_for(Wait::Body);
    assert!((&mut opened[2].1).await.unwrap_err().is_cancelled());
    let owed = fifth.0.link.ask();
    owed.waits_for(Wait::Stream);
    assert!(open(&connections, [10, 0, 0, 6]).is_none(), "all are at work");
    drop(tickets.pop());
    // The fourth has its answer: it makes room as soon as anybody looks again.
    while open(&connections, [10, 0, 0, 6]).is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(connections.count(), 3, "the last one was dropped at once");
}

#[tokio::test]
async fn one_peer_does_not_have_all() {
    let connections = Connections::new(8);
    let mut opened: Vec<_> = (0..20).filter_map(|_| open(&connections, HERE)).collect();
    assert_eq!(connections.count(), 6);
    assert!(open(&connections, [10, 0, 0, 1]).is_some());
    let tickets: Vec<_> = opened.iter().rev().take(6).map(|(open, _)| open.link.ask()).collect();
    tickets.iter().for_each(|ticket| ticket.waits_for(Wait::Answer));
    assert!(open(&connections, HERE).is_none(), "all of this peer are at work");
    opened.clear();
    assert_eq!(connections.count(), 0);
    assert!(connections.until_empty(Duration::ZERO).await);
}

#[tokio::test]
async fn what_stays_quiet_is_closed() {
    let connections = Connections::new(8);
    let (silent, silent_task) = open(&connections, HERE).unwrap();
    let (busy, busy_task) = open(&connections, HERE).unwrap();
    let ticket = busy.link.ask();
    ticket.waits_for(Wait::Follow);
    connections.sweep(0, 0);
    assert!(silent_task.await.unwrap_err().is_cancelled());
    assert!(!busy_task.is_finished());
    connections.close_quiet(false);
    assert!(
        busy_task.await.unwrap_err().is_cancelled(),
        "what has no end is ended when the server stops"
    );
    drop((silent, ticket, busy));
}
