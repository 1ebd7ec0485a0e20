//! What every journal must do. [`check`] performs all of it and panics at the first thing that is not so.

use holdline_actors::port::journal::{Journal, JournalError, Kind, Listed, Story};
use holdline_core::fact::{CallFact, Entry, Fact, Key, ParentFact};
use holdline_core::notice::Arrival;
use holdline_core::{CallId, RunId, WorkflowId};
use uuid::Uuid;

/// A kind of store that is to be checked.
pub struct Subject<'s> {
    /// An empty journal of its own.
    pub fresh: &'s dyn Fn() -> Box<dyn Journal>,
    /// The same journal after a restart; a store without a memory gives back what it got.
    pub again: &'s dyn Fn(Box<dyn Journal>) -> Box<dyn Journal>,
}

/// Facts of the longest story that is tried.
const LONG: u64 = 100_000;
/// Ended stories that are kept, and what each may take.
const KEPT: u64 = 5000;
const KEPT_BYTES_MAX: u64 = 4096;

/// Performs all of the contract.
pub fn check(subject: &Subject<'_>) {
    a_story_is_read_as_it_was_written(subject);
    a_batch_over_several_stories_is_whole(subject);
    open_stories_tell_whom_to_wake(subject);
    a_closed_story_is_kept_and_not_open(subject);
    pages_lose_and_double_nothing(subject);
    a_run_leads_to_its_story(subject);
    a_deleted_story_leaves_nothing(subject);
    old_stories_are_pruned_from_the_oldest_end(subject);
    large_facts_come_back_whole(subject);
    a_hundred_thousand_facts_keep_their_order(subject);
    a_reader_sees_what_was_written(subject);
    a_snapshot_stands_for_what_was_before_it_as_long_as_the_story_is_open(subject);
    a_kept_story_takes_little(subject);
}

/// A disk that can be full.
pub struct Disk<'d> {
    /// On that disk.
    pub journal: Box<dyn Journal>,
    /// Whether it takes anything from here on.
    pub set_full: &'d dyn Fn(bool),
}

/// What is refused is not there and not lost: given again when there is room, it is written once, behind what was
/// written before. For stores on a disk, beside [`check`].
pub fn check_full_disk(disk: Disk<'_>) {
    let Disk { mut journal, set_full } = disk;
    let before = vec![arrived(1, 1), digits(1, 2, "1")];
    journal.append(&before).unwrap();
    set_full(true);
    let large = "a text that fills any buffer ".repeat(10_000);
    let refused = vec![
        entry(call(1), 3, Fact::Call(CallFact::Trouble { what: large })),
        digits(1, 4, "2"),
        arrived(2, 4),
    ];
    for _ in 0..3 {
        assert!(matches!(journal.append(&refused), Err(JournalError::Write(_))), "a full disk takes nothing");
    }
    if let Some(reader) = journal.reader() {
        // Between two attempts a store may be closed; what it does tell is what it was told.
        let told = reader.read(&call(1)).unwrap_or_else(|_| before.clone());
        assert!(told.starts_with(&before), "what was there can still be read");
    }
    set_full(false);
    journal.append(&refused).unwrap();
    journal.append(&[digits(1, 5, "3")]).unwrap();
    let whole = [before, refused[..2].to_vec(), vec![digits(1, 5, "3")]].concat();
    assert_eq!(journal.read(&call(1)).unwrap(), whole, "all of it, in order, and once");
    assert_eq!(journal.read(&call(2)).unwrap(), refused[2..]);
}

fn a_story_is_read_as_it_was_written(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    assert_eq!(journal.read(&call(1)).unwrap(), vec![], "a story that was never begun is empty");
    assert_eq!(journal.story(&call(1)).unwrap(), None);
    let first = vec![arrived(1, 10), digits(1, 11, "1"), digits(1, 11, "2")];
    let second = vec![digits(1, 12, "3")];
    journal.append(&first).unwrap();
    journal.append(&second).unwrap();
    let journal = (subject.again)(journal);
    assert_eq!(journal.read(&call(1)).unwrap(), [first, second].concat());
}

fn a_batch_over_several_stories_is_whole(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    // The facts of one story need not stand together in a batch that several writers share.
    let batch = vec![arrived(1, 1), waiting(7, 1), digits(1, 2, "5"), arrived(2, 3), call_over(7, 4)];
    journal.append(&batch).unwrap();
    journal.append(&[]).unwrap();
    let journal = (subject.again)(journal);
    for (key, places) in [(call(1), vec![0, 2]), (run(7), vec![1, 4]), (call(2), vec![3])] {
        let wanted: Vec<Entry> = places.into_iter().map(|at: usize| batch[at].clone()).collect();
        assert_eq!(journal.read(&key).unwrap(), wanted, "{key:?}");
    }
}

fn open_stories_tell_whom_to_wake(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    journal.append(&[arrived(1, 1), waiting(7, 1), waiting(8, 1)]).unwrap();
    journal.append(&[call_over(8, 2), arrived(2, 2), rejected(2, 2)]).unwrap();
    let journal = (subject.again)(journal);
    let mut open = journal.open_stories().unwrap();
    open.sort_by(|a, b| a.key.cmp(&b.key));
    let workflow = Some(WorkflowId("hello".into()));
    let wanted = vec![
        Story { workflow: workflow.clone(), ..Story::of(call(1)) },
        Story { workflow, rejected: true, ..Story::of(call(2)) },
        Story { waits: true, ..Story::of(run(7)) },
        Story::of(run(8)),
    ];
    assert_eq!(open, wanted);
    assert_eq!(journal.open_keys().unwrap().len(), 4);
}

fn a_closed_story_is_kept_and_not_open(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    let story: Vec<Entry> = [arrived(1, 1)].into_iter().chain((2..40).map(|at| digits(1, at, "1"))).collect();
    for entry in &story {
        journal.append(std::slice::from_ref(entry)).unwrap();
    }
    journal.append(&[arrived(2, 50)]).unwrap();
    journal.close(&call(1)).unwrap();
    journal.close(&call(1)).unwrap();
    journal.close(&call(99)).unwrap();
    let journal = (subject.again)(journal);
    assert_eq!(journal.open_keys().unwrap(), vec![call(2)]);
    assert_eq!(journal.read(&call(1)).unwrap(), story, "what is over can still be read, every fact of it");
    assert_eq!(journal.story(&call(1)).unwrap().unwrap().ended_ms, Some(39));
}

fn pages_lose_and_double_nothing(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    for number in 1..=30 {
        journal.append(&[arrived(number, number), waiting(number, number)]).unwrap();
        if number % 3 == 0 {
            journal.close(&call(number)).unwrap();
        }
    }
    let mut journal = (subject.again)(journal);
    let newest_first: Vec<Key> = (1..=30).rev().map(call).collect();
    assert_eq!(pages(&*journal, Kind::Calls, 7), newest_first);
    assert_eq!(pages(&*journal, Kind::CallsAndRuns, 11).len(), 60);
    let open_newest_first: Vec<Key> = (1..=30).rev().filter(|number| number % 3 != 0).map(call).collect();
    let mut open = Vec::new();
    let mut after = None;
    loop {
        let page = journal.list_open(Kind::Calls, after, 7).unwrap();
        open.extend(keys(&page));
        // Their places are those of the whole list.
        after = page.last().map(|row| row.place);
        if page.len() < 7 {
            break;
        }
        let rest = journal.list(Kind::Calls, after, 1).unwrap();
        assert!(rest.first().is_none_or(|row| after.is_some_and(|after| row.place < after)));
    }
    assert_eq!(open, open_newest_first);
    // A story that begins between two pages stands before the first one.
    let page = journal.list(Kind::Calls, None, 10).unwrap();
    journal.append(&[arrived(31, 31)]).unwrap();
    let next = journal.list(Kind::Calls, page.last().map(|row| row.place), 100).unwrap();
    assert_eq!(keys(&next), newest_first[10..].to_vec());
    assert_eq!(keys(&journal.list(Kind::Calls, None, 1).unwrap()), vec![call(31)]);
}

fn a_run_leads_to_its_story(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    journal.append(&[arrived(1, 1), waiting(7, 1)]).unwrap();
    journal.append(&[digits(1, 2, "1")]).unwrap();
    let journal = (subject.again)(journal);
    assert_eq!(journal.story_of(&sub_run(1)).unwrap(), Some(call(1)));
    assert_eq!(journal.story_of(&run_id(7)).unwrap(), Some(run(7)));
    assert_eq!(journal.story_of(&run_id(8)).unwrap(), None);
}

fn a_deleted_story_leaves_nothing(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    journal.append(&[arrived(1, 1), arrived(2, 1), waiting(7, 1)]).unwrap();
    journal.close(&call(1)).unwrap();
    for key in [call(1), run(7), call(99)] {
        journal.delete(&key).unwrap();
    }
    let mut journal = (subject.again)(journal);
    assert_eq!(journal.read(&call(1)).unwrap(), vec![]);
    assert_eq!(journal.story(&call(1)).unwrap(), None);
    assert_eq!(journal.story_of(&sub_run(1)).unwrap(), None);
    assert_eq!(journal.story_of(&run_id(7)).unwrap(), None);
    assert_eq!(pages(&*journal, Kind::CallsAndRuns, 10), vec![call(2)]);
    assert_eq!(journal.open_keys().unwrap(), vec![call(2)]);
    assert_eq!(journal.prune(u64::MAX, 10).unwrap(), 0);
    journal.append(&[arrived(1, 9)]).unwrap();
    assert_eq!(journal.read(&call(1)).unwrap(), vec![arrived(1, 9)], "the same name may begin again");
}

fn old_stories_are_pruned_from_the_oldest_end(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    for number in 1..=20 {
        journal.append(&[arrived(number, 1), digits(number, 100 + number, "1")]).unwrap();
    }
    for number in 1..=15 {
        journal.close(&call(number)).unwrap();
    }
    let mut journal = (subject.again)(journal);
    assert_eq!(journal.prune(101, 100).unwrap(), 0, "an end at the limit is not before it");
    assert_eq!(journal.prune(111, 4).unwrap(), 4);
    assert_eq!(journal.prune(111, 100).unwrap(), 6);
    assert_eq!(journal.prune(111, 100).unwrap(), 0);
    let mut journal = (subject.again)(journal);
    let kept: Vec<Key> = (11..=20).rev().map(call).collect();
    assert_eq!(pages(&*journal, Kind::CallsAndRuns, 50), kept);
    assert_eq!(journal.story_of(&sub_run(10)).unwrap(), None);
    assert_eq!(journal.prune(u64::MAX, 100).unwrap(), 5, "stories that are not over are never pruned");
    assert_eq!(journal.open_keys().unwrap().len(), 5);
}

fn large_facts_come_back_whole(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    let text = "µ \"quoted\" \u{1F4DE} ".repeat(20_000);
    let large = entry(call(1), 5, Fact::Call(CallFact::Trouble { what: text }));
    let story = vec![arrived(1, 1), large.clone(), digits(1, 6, "1"), large];
    journal.append(&story[..2]).unwrap();
    journal.append(&story[2..]).unwrap();
    let mut journal = (subject.again)(journal);
    assert_eq!(journal.read(&call(1)).unwrap(), story);
    journal.close(&call(1)).unwrap();
    let journal = (subject.again)(journal);
    assert_eq!(journal.read(&call(1)).unwrap(), story);
}

fn a_hundred_thousand_facts_keep_their_order(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    journal.append(&[arrived(1, 0)]).unwrap();
    for start in (1..LONG).step_by(500) {
        let batch: Vec<Entry> = (start..(start + 500).min(LONG)).map(|at| digits(1, at, "7")).collect();
        journal.append(&batch).unwrap();
    }
    let mut journal = (subject.again)(journal);
    let in_order = |journal: &dyn Journal| {
        let story = journal.read(&call(1)).unwrap();
        assert_eq!(story.len() as u64, LONG);
        assert!(story.iter().zip(0..).all(|(entry, at)| entry.wall_ms == at), "facts are out of order");
    };
    in_order(&*journal);
    journal.close(&call(1)).unwrap();
    in_order(&*journal);
    journal.delete(&call(1)).unwrap();
    assert_eq!(journal.read(&call(1)).unwrap(), vec![]);
}

fn a_reader_sees_what_was_written(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    let Some(mut reader) = journal.reader() else { return };
    journal.append(&[arrived(1, 1), waiting(7, 1)]).unwrap();
    assert_eq!(reader.read(&call(1)).unwrap(), vec![arrived(1, 1)]);
    assert_eq!(reader.story_of(&sub_run(1)).unwrap(), Some(call(1)));
    assert_eq!(pages(&*reader, Kind::CallsAndRuns, 10).len(), 2);
    assert!(reader.append(&[arrived(2, 1)]).is_err(), "a reader does not write");
}

fn a_snapshot_stands_for_what_was_before_it_as_long_as_the_story_is_open(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    assert_eq!(journal.read_on(&call(1)).unwrap(), (None, vec![]), "of a story that was never begun");
    journal.keep_snapshot(&call(1), b"of nothing").unwrap();
    let story: Vec<Entry> = [arrived(1, 1)].into_iter().chain((2..30).map(|at| digits(1, at, "1"))).collect();
    journal.append(&story[..10]).unwrap();
    journal.append(&[arrived(2, 9)]).unwrap();
    let large = b"a state of some size ".repeat(5_000);
    for state in [large.as_slice(), b"a later one"] {
        journal.keep_snapshot(&call(1), state).unwrap();
        let (snapshot, after) = journal.read_on(&call(1)).unwrap();
        let Some(snapshot) = snapshot else {
            assert_eq!(after, story[..10], "a store need not keep any");
            return;
        };
        assert_eq!((snapshot.as_slice(), after), (state, vec![]));
    }
    journal.append(&story[10..20]).unwrap();
    journal.append(&story[20..]).unwrap();
    let mut journal = (subject.again)(journal);
    let (snapshot, after) = journal.read_on(&call(1)).unwrap();
    assert_eq!(snapshot.as_deref(), Some(b"a later one".as_slice()));
    assert_eq!(after, story[10..]);
    assert_eq!(journal.read(&call(1)).unwrap(), story, "it replaces nothing");
    assert_eq!(journal.read_on(&call(2)).unwrap(), (None, vec![arrived(2, 9)]));
    journal.close(&call(1)).unwrap();
    journal.keep_snapshot(&call(1), b"of one that is over").unwrap();
    assert_eq!(journal.read_on(&call(1)).unwrap(), (None, story));
    journal.keep_snapshot(&call(2), b"soon gone").unwrap();
    journal.delete(&call(2)).unwrap();
    journal.append(&[arrived(2, 50)]).unwrap();
    assert_eq!(journal.read_on(&call(2)).unwrap(), (None, vec![arrived(2, 50)]));
}

/// Many ended stories of one kind: what a store takes for each is what a month of calls takes.
fn a_kept_story_takes_little(subject: &Subject<'_>) {
    let mut journal = (subject.fresh)();
    for lot in 0..KEPT / 100 {
        let numbers = lot * 100..(lot + 1) * 100;
        for at in 0..20 {
            let facts: Vec<Entry> = numbers
                .clone()
                .map(|number| if at == 0 { arrived(number, at) } else { digits(number, at, "1") })
                .collect();
            journal.append(&facts).unwrap();
        }
        numbers.for_each(|number| journal.close(&call(number)).unwrap());
    }
    if let Some(bytes) = journal.disk_bytes() {
        assert!(bytes / KEPT <= KEPT_BYTES_MAX, "{} bytes for each story that is kept", bytes / KEPT);
    }
    while journal.prune(u64::MAX, 100).unwrap() > 0 {}
    assert_eq!(pages(&*journal, Kind::CallsAndRuns, 100), vec![]);
}

fn pages(journal: &dyn Journal, kind: Kind, size: usize) -> Vec<Key> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = journal.list(kind, after, size).unwrap();
        assert!(page.len() <= size);
        after = page.last().map(|row| row.place);
        all.extend(keys(&page));
        if page.len() < size {
            return all;
        }
    }
}

fn keys(page: &[Listed]) -> Vec<Key> {
    page.iter().map(|row| row.key.clone()).collect()
}

fn call(number: u64) -> Key {
    Key::Call(CallId(format!("CA{number:032}")))
}

fn run_id(number: u64) -> RunId {
    RunId(Uuid::from_u128(number.into()))
}

fn sub_run(number: u64) -> RunId {
    run_id(number + 1_000_000)
}

fn run(number: u64) -> Key {
    Key::Run(run_id(number))
}

fn entry(key: Key, wall_ms: u64, fact: Fact) -> Entry {
    Entry { key, wall_ms, fact }
}

fn arrived(number: u64, wall_ms: u64) -> Entry {
    let Key::Call(id) = call(number) else { unreachable!("a call's key names a call") };
    let arrival = Arrival {
        call: id,
        account: "AC1".into(),
        from: "+14155550100".into(),
        to: "+14155550199".into(),
        direction: "inbound".into(),
        status: None,
        caller_name: None,
        forwarded_from: None,
    };
    let fact = CallFact::Arrived {
        arrival,
        workflow: WorkflowId("hello".into()),
        sub_workflow: WorkflowId("hello-sub".into()),
        sub_run: sub_run(number),
        main_run: None,
        max_duration_ms: None,
        resume_phrase: None,
    };
    entry(call(number), wall_ms, Fact::Call(fact))
}

fn digits(number: u64, wall_ms: u64, digits: &str) -> Entry {
    entry(call(number), wall_ms, Fact::Call(CallFact::Digits { digits: digits.into() }))
}

fn rejected(number: u64, wall_ms: u64) -> Entry {
    entry(call(number), wall_ms, Fact::Call(CallFact::Rejected))
}

fn waiting(number: u64, wall_ms: u64) -> Entry {
    let fact = ParentFact::Waiting {
        call: CallId("CA1".into()),
        trigger_type: "twilio/inboundCall".into(),
        trigger_name: "call".into(),
    };
    entry(run(number), wall_ms, Fact::Parent(fact))
}

fn call_over(number: u64, wall_ms: u64) -> Entry {
    entry(
        run(number),
        wall_ms,
        Fact::Parent(ParentFact::CallOver { completion: serde_json::json!({ "a": 1 }) }),
    )
}
