//! Told time, no waiting: whole minutes of audio in a moment.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::media::frame::SILENCE;

fn ms(millis: u64) -> Tick {
    Tick::from_millis(millis)
}

/// A sound whose every frame tells which one it is: id, then place.
fn sound(id: u8, frames: usize) -> Source {
    Source::Whole(bytes(id, 0..frames).into())
}

fn bytes(id: u8, places: std::ops::Range<usize>) -> Vec<u8> {
    places
        .flat_map(|place| [&[id, (place >> 8) as u8, place as u8][..], &[0x55; FRAME_BYTES - 3]].concat())
        .collect()
}

fn place(frame: &Frame) -> (u8, usize) {
    let bytes = frame.bytes();
    (bytes[0], usize::from(bytes[1]) << 8 | usize::from(bytes[2]))
}

fn frames(out: &[Out]) -> Vec<(u8, usize)> {
    let frame = |out: &Out| match out {
        Out::Frame(frame) => Some(place(frame)),
        _ => None,
    };
    out.iter().filter_map(frame).collect()
}

fn reports(out: &[Out]) -> Vec<(u64, u64, How)> {
    let report = |out: &Out| match out {
        Out::Report(report) => Some((report.id.0, report.heard_ms, report.how)),
        _ => None,
    };
    out.iter().filter_map(report).collect()
}

fn marks(out: &[Out]) -> Vec<String> {
    let mark = |out: &Out| match out {
        Out::Mark(name) => Some(name.clone()),
        _ => None,
    };
    out.iter().filter_map(mark).collect()
}

/// Ticks on time until `until`, everything gathered with its time.
fn run(playout: &mut Playout, until: Tick) -> Vec<(Tick, Out)> {
    let mut all = Vec::new();
    let mut now = Tick::default();
    while let Some(due) = playout.due_at().filter(|due| *due <= until) {
        now = now.max(due);
        let mut out = Vec::new();
        playout.tick(now, &mut out);
        all.extend(out.into_iter().map(|out| (now, out)));
    }
    all
}

fn only_out(timed: Vec<(Tick, Out)>) -> Vec<Out> {
    timed.into_iter().map(|(_, out)| out).collect()
}

fn ticked(playout: &mut Playout, now: Tick) -> Vec<Out> {
    let mut out = Vec::new();
    playout.tick(now, &mut out);
    out
}

fn hushed(playout: &mut Playout, now: Tick) -> Vec<Out> {
    let mut out = Vec::new();
    playout.hush(now, &mut out);
    out
}

fn echoed(playout: &mut Playout, now: Tick, mark: &str) -> Vec<Out> {
    let mut out = Vec::new();
    playout.marked(now, mark, &mut out);
    out
}

#[test]
fn one_utterance_follows_another_without_a_gap_and_each_ends_in_its_mark() {
    let mut playout = Playout::new(PlayoutConfig::default());
    playout.begin(ms(0), SoundId(1), sound(1, 3)).unwrap();
    playout.begin(ms(0), SoundId(2), sound(2, 2)).unwrap();
    let sent = run(&mut playout, ms(1000));
    let told: Vec<String> = sent
        .iter()
        .map(|(at, out)| match out {
            Out::Frame(frame) => format!("{} frame {:?}", at.as_millis(), place(frame)),
            Out::Mark(name) => format!("{} mark {name}", at.as_millis()),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "0 frame (1, 0)",
            "20 frame (1, 1)",
            "40 frame (1, 2)",
            "40 mark h1-0",
            "60 frame (2, 0)",
            "80 frame (2, 1)",
            "80 mark h2-0"
        ]
    );
    assert_eq!(reports(&echoed(&mut playout, ms(70), "h1-0")), [(1, 60, How::Whole)]);
    assert_eq!(echoed(&mut playout, ms(71), "h1-0"), [], "a mark counts once");
    assert_eq!(reports(&echoed(&mut playout, ms(110), "h2-0")), [(2, 40, How::Whole)]);
    assert!(playout.is_idle());
    assert_eq!(playout.due_at(), None);
}

#[test]
fn a_partial_last_frame_is_filled_up_with_silence_that_counts_as_nothing_heard() {
    let mut playout = Playout::new(PlayoutConfig::default());
    playout.begin(ms(0), SoundId(1), Source::Whole(vec![0x11; 240].into())).unwrap();
    let out = only_out(run(&mut playout, ms(100)));
    let Some(Out::Frame(last)) = out.get(1) else { panic!("two frames, not {out:?}") };
    assert_eq!((&last.bytes()[..80], &last.bytes()[80..]), (&[0x11; 80][..], &SILENCE[80..]));
    assert_eq!(reports(&echoed(&mut playout, ms(100), "h1-0")), [(1, 30, How::Whole)]);
}

#[test]
fn a_barge_in_clears_and_tells_what_was_heard_and_the_echo_of_the_clear_proves_nothing() {
    let mut playout = Playout::new(PlayoutConfig { lead: Duration::from_millis(200), ..Default::default() });
    playout.begin(ms(0), SoundId(1), sound(1, 5)).unwrap();
    playout.begin(ms(0), SoundId(2), sound(2, 100)).unwrap();
    playout.begin(ms(0), SoundId(3), sound(3, 100)).unwrap();
    let sent = only_out(run(&mut playout, ms(150)));
    assert_eq!(frames(&sent).len(), 18, "150 ms and 200 ms ahead, each begun frame");
    let out = hushed(&mut playout, Tick(155_500));
    assert_eq!(out[0], Out::Clear);
    // The first is through by the clock, yet its mark is not back; of the second, 55 of 260 ms have been played.
    assert_eq!(reports(&out), [(1, 100, How::Cut), (2, 55, How::Cut), (3, 0, How::Cut)]);
    assert_eq!(marks(&sent), ["h1-0"]);
    assert_eq!(echoed(&mut playout, ms(200), "h1-0"), [], "returned by the clear");
    assert_eq!(ticked(&mut playout, ms(5000)), []);
    assert_eq!(hushed(&mut playout, ms(5000)), [], "a second hush changes nothing");
    assert_eq!(playout.counts().cleared, 87 + 100);

    playout.begin(ms(6000), SoundId(4), sound(4, 1)).unwrap();
    assert_eq!(marks(&ticked(&mut playout, ms(6000))), ["h4-1"], "a name that no older mark has");

    // What had run ahead is forgotten: the next word comes at once, not when the cut one would have ended.
    playout.begin(ms(7000), SoundId(5), sound(5, 100)).unwrap();
    ticked(&mut playout, ms(7000));
    hushed(&mut playout, ms(7010));
    playout.begin(ms(7010), SoundId(6), sound(6, 100)).unwrap();
    let out = ticked(&mut playout, ms(7010));
    assert_eq!(frames(&out)[0], (6, 0));
    assert_eq!(reports(&hushed(&mut playout, ms(7050))), [(6, 40, How::Cut)]);
}

#[test]
fn what_is_cut_at_once_after_a_late_start_was_not_heard() {
    let mut playout = Playout::new(PlayoutConfig::default());
    playout.begin(ms(0), SoundId(1), sound(1, 50)).unwrap();
    assert_eq!(frames(&ticked(&mut playout, ms(50))).len(), 3);
    assert_eq!(reports(&hushed(&mut playout, ms(50))), [(1, 0, How::Cut)], "three frames sent, none played");
}

#[test]
fn sixty_milliseconds_late_is_made_up_for_and_more_begins_anew() {
    let mut playout = Playout::new(PlayoutConfig::default());
    playout.begin(ms(0), SoundId(1), sound(1, 50)).unwrap();
    assert_eq!(frames(&ticked(&mut playout, ms(60))).len(), 3);
    assert_eq!(playout.due_at(), Some(ms(60)), "the fourth is not late at all");
    assert_eq!(frames(&ticked(&mut playout, ms(60))), [(1, 3)]);
    assert_eq!((playout.counts().rebases, playout.due_at()), (0, Some(ms(80))));
    assert_eq!(frames(&ticked(&mut playout, ms(141))), [(1, 4), (1, 5), (1, 6)]);
    assert_eq!((playout.counts().rebases, playout.due_at()), (1, Some(ms(161))));
    assert_eq!(playout.counts().late_max, Duration::from_millis(61));
}

#[test]
fn a_network_that_returns_no_mark_is_waited_for_two_seconds() {
    let mut playout = Playout::new(PlayoutConfig::default());
    playout.begin(ms(0), SoundId(1), sound(1, 5)).unwrap();
    run(&mut playout, ms(1000));
    assert_eq!(playout.due_at(), Some(ms(2100)));
    assert_eq!(ticked(&mut playout, ms(2099)), []);
    assert_eq!(reports(&ticked(&mut playout, ms(2100))), [(1, 100, How::Whole)]);
    assert_eq!(echoed(&mut playout, ms(2200), "h1-0"), [], "too late to count again");
    assert_eq!((playout.counts().marks_missed, playout.counts().marks_stale), (1, 1));
}

#[test]
fn a_mark_speaks_for_those_before_it() {
    let mut playout = Playout::new(PlayoutConfig::default());
    playout.begin(ms(0), SoundId(1), sound(1, 1)).unwrap();
    playout.begin(ms(0), SoundId(2), sound(2, 0)).unwrap();
    let out = only_out(run(&mut playout, ms(100)));
    assert_eq!(marks(&out), ["h1-0", "h2-0"]);
    let heard = reports(&echoed(&mut playout, ms(100), "h2-0"));
    assert_eq!(heard, [(1, 20, How::Whole), (2, 0, How::Whole)]);
}

#[test]
fn a_stalled_socket_fails_the_utterance_a_second_after_the_queue_is_full_and_the_next_one_too() {
    let mut playout = Playout::new(PlayoutConfig::default());
    for id in 1..=3 {
        playout.begin(ms(0), SoundId(id), sound(id as u8, 200)).unwrap();
    }
    run(&mut playout, ms(99)); // five frames
    playout.blocked(ms(100));
    // The frame due at 100 waits; 50 are overdue at 1080.
    assert_eq!(playout.due_at(), Some(ms(2080)));
    assert_eq!(ticked(&mut playout, ms(2079)), []);
    assert_eq!(reports(&ticked(&mut playout, ms(2080))), [(1, 100, How::Timeout)]);
    // The queue is still full: the next one has a second, no more.
    assert_eq!(playout.due_at(), Some(ms(3080)));
    assert_eq!(reports(&ticked(&mut playout, ms(3080))), [(2, 0, How::Timeout)]);
    playout.unblocked(ms(3500));
    assert_eq!(frames(&ticked(&mut playout, ms(3500))), [(3, 0), (3, 1), (3, 2)], "the third goes on");
    assert_eq!(frames(&ticked(&mut playout, ms(3520))), [(3, 3)]);
    assert_eq!((playout.counts().timeouts, playout.counts().rebases), (2, 1));
    playout.blocked(ms(3530));
    assert_eq!(
        playout.due_at(),
        Some(ms(3540 + 980 + 1000)),
        "a new stall has its own time to fill the queue"
    );
}

#[test]
fn a_short_stall_costs_nothing_but_the_pause() {
    let mut playout = Playout::new(PlayoutConfig::default());
    playout.begin(ms(0), SoundId(1), sound(1, 20)).unwrap();
    ticked(&mut playout, ms(0));
    playout.blocked(ms(5));
    assert_eq!(ticked(&mut playout, ms(900)), []);
    playout.unblocked(ms(900));
    let rest = only_out(run(&mut playout, ms(2000)));
    assert_eq!(frames(&rest), (1..20).map(|place| (1, place)).collect::<Vec<_>>());
    assert_eq!(reports(&echoed(&mut playout, ms(2000), "h1-0")), [(1, 400, How::Whole)]);
}

#[test]
fn a_short_sound_on_a_dead_socket_fails_as_well() {
    let mut playout = Playout::new(PlayoutConfig::default());
    playout.blocked(ms(0));
    playout.begin(ms(0), SoundId(1), sound(1, 25)).unwrap();
    assert_eq!(playout.due_at(), Some(ms(480 + 1000)));
    assert_eq!(reports(&ticked(&mut playout, ms(1480))), [(1, 0, How::Timeout)]);
}

#[test]
fn a_producer_that_is_ahead_waits_and_one_that_is_behind_is_not_late() {
    let mut playout = Playout::new(PlayoutConfig::default());
    let id = SoundId(1);
    playout.begin(ms(0), id, Source::Stream).unwrap();
    assert_eq!(playout.due_at(), None, "nothing to send yet");
    let audio = bytes(1, 0..60);
    assert_eq!(playout.push(ms(300), id, &audio), 50 * FRAME_BYTES);
    assert_eq!(playout.push(ms(300), id, &audio), 0);
    assert_eq!(frames(&ticked(&mut playout, ms(300))), [(1, 0)], "late by nothing");
    assert_eq!(playout.room(id), FRAME_BYTES);
    assert_eq!(playout.push(ms(301), id, &audio[50 * FRAME_BYTES..]), FRAME_BYTES);
    run(&mut playout, ms(3000));
    assert_eq!(playout.counts().frames, 51);

    // Half a frame waits for its other half, or for the end.
    assert_eq!(playout.push(ms(4000), id, &[1; 80]), 80);
    assert_eq!(playout.due_at(), None);
    playout.finish(ms(5000), id);
    let out = ticked(&mut playout, ms(5000));
    assert_eq!((frames(&out).len(), marks(&out)), (1, vec!["h1-0".to_owned()]));
    assert_eq!(playout.push(ms(5001), id, &[1; 80]), 0, "finished is finished");
    assert_eq!(reports(&echoed(&mut playout, ms(5100), "h1-0")), [(1, 51 * 20 + 10, How::Whole)]);
    assert_eq!(playout.counts().rebases, 0);
}

#[test]
fn a_full_streaming_queue_on_a_stalled_socket_fails_after_a_second() {
    let mut playout = Playout::new(PlayoutConfig::default());
    playout.blocked(ms(0));
    playout.begin(ms(0), SoundId(1), Source::Stream).unwrap();
    playout.push(ms(200), SoundId(1), &bytes(1, 0..49));
    assert_eq!(playout.due_at(), None, "not full: the producer is not held up yet");
    playout.push(ms(700), SoundId(1), &bytes(1, 49..60));
    assert_eq!(playout.due_at(), Some(ms(1700)));
    assert_eq!(reports(&ticked(&mut playout, ms(1700))), [(1, 0, How::Timeout)]);
    assert_eq!(playout.push(ms(1701), SoundId(1), &[1; 160]), 0);

    playout.unblocked(ms(2000));
    playout.begin(ms(2000), SoundId(2), Source::Stream).unwrap();
    playout.push(ms(2000), SoundId(2), &bytes(2, 0..50));
    ticked(&mut playout, ms(2000));
    playout.blocked(ms(2010));
    assert_eq!(playout.due_at(), None, "it was full, and is no more");
}

#[test]
fn an_end_that_comes_after_the_last_frame_still_marks() {
    let mut playout = Playout::new(PlayoutConfig::default());
    playout.begin(ms(0), SoundId(1), Source::Stream).unwrap();
    playout.push(ms(0), SoundId(1), &bytes(1, 0..1));
    ticked(&mut playout, ms(0));
    assert_eq!(playout.due_at(), None);
    playout.finish(ms(500), SoundId(1));
    assert!(playout.due_at().is_some_and(|due| due <= ms(500)));
    assert_eq!(marks(&ticked(&mut playout, ms(500))), ["h1-0"]);
    assert_eq!(playout.due_at(), Some(ms(2500)), "its mark has two seconds from when it went out");
}

#[test]
fn idle_silence_keeps_the_cadence_and_steps_aside_for_speech() {
    let mut playout = Playout::new(PlayoutConfig {
        idle_silence: true,
        lead: Duration::from_millis(100),
        ..Default::default()
    });
    assert_eq!(ticked(&mut playout, ms(1000)), [Out::Frame(Frame::silence())]);
    assert_eq!(playout.due_at(), Some(ms(1020)), "silence does not run ahead");
    assert_eq!(ticked(&mut playout, ms(1020)).len(), 1);
    playout.begin(ms(1030), SoundId(1), sound(1, 2)).unwrap();
    assert_eq!(frames(&ticked(&mut playout, ms(1040))), [(1, 0), (1, 1)]);
    assert_eq!(ticked(&mut playout, ms(1080)), [Out::Frame(Frame::silence())]);
    assert_eq!(
        ticked(&mut playout, ms(9000)),
        [Out::Report(Report { id: SoundId(1), heard_ms: 40, how: How::Whole }), Out::Frame(Frame::silence()),]
    );
    playout.freeze();
    assert_eq!((playout.due_at(), ticked(&mut playout, ms(9100))), (None, vec![]), "no stream, no silence");
    playout.thaw();
    assert_eq!(ticked(&mut playout, ms(9200)).len(), 1);
}

#[test]
fn a_lost_stream_drops_everything_and_reports_nothing() {
    let mut playout = Playout::new(PlayoutConfig::default());
    playout.begin(ms(0), SoundId(1), sound(1, 2)).unwrap();
    playout.begin(ms(0), SoundId(2), sound(2, 100)).unwrap();
    run(&mut playout, ms(100));
    playout.freeze();
    assert_eq!(playout.due_at(), None);
    assert_eq!(ticked(&mut playout, ms(9000)), []);
    assert_eq!(echoed(&mut playout, ms(9000), "h1-0"), []);
    playout.begin(ms(9000), SoundId(2), sound(2, 1)).unwrap();
    let out = ticked(&mut playout, ms(9000));
    assert_eq!((frames(&out), marks(&out)), (vec![(2, 0)], vec!["h2-1".to_owned()]));
}

#[test]
fn utterances_are_bounded_and_named_once() {
    let mut playout = Playout::new(PlayoutConfig::default());
    for id in 0..UTTERANCES_MAX as u64 {
        playout.begin(ms(0), SoundId(id), sound(1, 0)).unwrap();
    }
    assert_eq!(playout.begin(ms(0), SoundId(999), sound(1, 0)), Err(BeginError::TooMany));
    ticked(&mut playout, ms(0));
    assert_eq!(playout.begin(ms(0), SoundId(999), sound(1, 0)), Err(BeginError::TooMany), "marks are out");
    echoed(&mut playout, ms(1), "h0-0");
    assert_eq!(playout.begin(ms(1), SoundId(1), sound(1, 0)), Err(BeginError::Again(1)));
    assert_eq!(playout.begin(ms(1), SoundId(0), sound(1, 0)), Ok(()));
}

proptest! {
    /// 500 frames take 10.00 s ± one frame: no lateness is ever passed on to the frames behind.
    #[test]
    fn lateness_never_adds_up(late in proptest::collection::vec(0u64..=60_000, 100), calm in any::<bool>()) {
        let mut playout = Playout::new(PlayoutConfig::default());
        let start = ms(12_345);
        playout.begin(start, SoundId(1), sound(1, 500)).unwrap();
        let most = if calm { 20_000 } else { 60_000 };
        let (mut now, mut sent) = (start, Vec::new());
        for late in late.into_iter().cycle() {
            let Some(due) = playout.due_at() else { break };
            now = now.max(due + Duration::from_micros(late.min(most)));
            let out = ticked(&mut playout, now);
            prop_assert!(frames(&out).len() <= 3, "{} frames at once", frames(&out).len());
            sent.extend(frames(&out).into_iter().map(|frame| (now, frame)));
            if sent.len() == 500 { break }
        }
        for (place, (at, frame)) in sent.iter().enumerate() {
            prop_assert_eq!(*frame, (1, place));
            let due = start + FRAME * place as u32;
            prop_assert!(*at >= due && at.since(due) <= Duration::from_micros(most), "frame {} at {:?}", place, at);
        }
        prop_assert_eq!(sent.len(), 500);
        prop_assert_eq!(playout.counts().rebases, 0);
    }

    /// After pauses of any length at most three frames come at once, in order, and rebases are counted.
    #[test]
    fn a_long_pause_is_caught_up_by_three_frames_at_most(
        pauses in proptest::collection::vec((1u64..40, 0u64..3000), 1..20)
    ) {
        let mut playout = Playout::new(PlayoutConfig::default());
        playout.begin(ms(0), SoundId(1), sound(1, 2000)).unwrap();
        let (mut now, mut sent, mut long) = (ms(0), Vec::new(), 0);
        for (steps, pause) in pauses {
            for step in 0..steps {
                let Some(due) = playout.due_at() else { break };
                let wait = if step == 0 { pause } else { 0 };
                long += u64::from(wait > 60 && due + Duration::from_millis(wait) > now);
                now = now.max(due + Duration::from_millis(wait));
                let out = frames(&ticked(&mut playout, now));
                prop_assert!(out.len() <= 3);
                sent.extend(out);
                prop_assert!(playout.due_at().is_none_or(|due| due <= now + FRAME));
            }
        }
        prop_assert_eq!(playout.counts().rebases, long);
        let in_order: Vec<_> = (0..sent.len()).map(|place| (1, place)).collect();
        prop_assert_eq!(sent, in_order);
    }

    /// Anything may happen in any order: frames stay in order, none comes after its clear, nothing more is heard than
    /// was sent, and everything that was begun is reported exactly once.
    #[test]
    fn whatever_happens_each_utterance_is_told_once_and_truly(
        acts in proptest::collection::vec((0u8..10, 0u64..200, 1usize..80), 1..120),
        lead in 0u64..300, idle_silence in any::<bool>(),
    ) {
        let lead = Duration::from_millis(lead);
        let mut playout = Playout::new(PlayoutConfig { lead, idle_silence, ..Default::default() });
        let mut now = ms(0);
        let mut next_id = 0u8;
        let mut streams: BTreeMap<u64, usize> = BTreeMap::new();
        let mut all = Vec::new();
        let mut known = Vec::new();
        for (act, wait, size) in acts {
            now = now + Duration::from_millis(if size == 7 { wait * 20 } else { wait });
            let mut out = Vec::new();
            match act {
                0 | 1 if next_id < 250 => {
                    next_id += 1;
                    let id = u64::from(next_id);
                    let source = if act == 0 { sound(next_id, size) } else { Source::Stream };
                    if act == 1 { streams.insert(id, 0); }
                    if playout.begin(now, SoundId(id), source).is_err() { next_id -= 1; }
                }
                2 | 3 => for (&id, place) in &mut streams {
                    let taken = playout.push(now, SoundId(id), &bytes(id as u8, *place..*place + size));
                    prop_assert_eq!(taken % FRAME_BYTES, 0);
                    *place += taken / FRAME_BYTES;
                },
                4 => if let Some((id, _)) = streams.pop_first() { playout.finish(now, SoundId(id)) },
                5 => playout.hush(now, &mut out),
                6 => playout.blocked(now),
                7 => playout.unblocked(now),
                8 if !known.is_empty() => {
                    let name: &String = &known[size % known.len()];
                    playout.marked(now, name, &mut out);
                }
                _ => {}
            }
            if act > 2 {
                let before = out.len();
                playout.tick(now, &mut out);
                prop_assert!(frames(&out[before..]).len() as u128 <= 3 + lead.as_millis() / 20);
            }
            known.extend(marks(&out));
            all.extend(out);
        }
        playout.unblocked(now);
        for id in streams.keys() { playout.finish(now, SoundId(*id)) }
        for _ in 0..100_000 {
            if playout.is_idle() { break }
            let due = playout.due_at();
            prop_assert!(due.is_some(), "something waits, and nobody would wake it");
            now = now.max(due.unwrap_or_default());
            playout.tick(now, &mut all);
        }
        prop_assert!(playout.is_idle());

        let mut told: BTreeMap<u64, Report> = BTreeMap::new();
        let mut sent: BTreeMap<u8, usize> = BTreeMap::new();
        let mut front = 0;
        for out in &all {
            match out {
                Out::Frame(frame) if *frame == Frame::silence() => {}
                Out::Frame(frame) => {
                    let (id, at) = place(frame);
                    prop_assert!(id >= front, "{} after {}", id, front);
                    prop_assert!(!told.contains_key(&u64::from(id)), "a stale frame of {}", id);
                    let count = sent.entry(id).or_default();
                    prop_assert_eq!(at, *count, "frame of {} out of order", id);
                    *count += 1;
                    front = id;
                }
                Out::Report(report) => {
                    let count = sent.get(&(report.id.0 as u8)).copied().unwrap_or_default() as u64;
                    prop_assert!(report.heard_ms <= count * FRAME_MS, "{:?} of {} frames", report, count);
                    prop_assert!(told.insert(report.id.0, *report).is_none(), "{:?} twice", report.id);
                }
                Out::Mark(_) | Out::Clear => {}
            }
        }
        prop_assert_eq!(told.len(), usize::from(next_id));
        let names: std::collections::BTreeSet<_> = marks(&all).into_iter().collect();
        prop_assert_eq!(names.len(), marks(&all).len(), "every mark has a name of its own");
    }
}
