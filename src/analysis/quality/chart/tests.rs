//! Pictures are well formed, refer to nothing, and say what they should.

use super::bars::{Columns, Leads};
use super::time::{Curves, Row, Rows, Scale, StripKind, StripSegment, Strips, TimeCurve};
use super::*;
use crate::chart::tests::well_formed;
use crate::quality::account::Lengths;

const HOSTILE: &str = "<script>&\"'\u{1}";

fn axis(span: u64) -> TimeAxis {
    TimeAxis { start: Nanos::from_secs(1_763_130_600), span: Nanos(span) }
}

fn labels(svg: &str) -> Vec<&str> {
    svg.split("<text").skip(1).map(|text| text.split_once('>').unwrap().1.split("</text>").next().unwrap()).collect()
}

#[test]
fn times_have_ticks_that_fit() {
    for (span, after, time) in [
        (1, "0", "14:30:00.000000000"),
        (900_000, "+500 µs", "14:30:00.000500"),
        (90_000_000, "+50 ms", "14:30:00.050"),
        (33_000_000_000, "+10 s", "14:30:10"),
        (3_600_000_000_000, "+15 min", "14:45:00"),
        (86_400_000_000_000, "+6 h", "20:30:00"),
    ] {
        let mut svg = String::new();
        axis(span).draw(&mut svg, 0.0, 10.0);
        let labels = labels(&svg);
        assert!(labels.contains(&after) && labels.contains(&time), "{span}: {labels:?}");
        assert!(labels.len() <= 12, "{labels:?}");
    }
}

#[test]
fn numbers_are_short() {
    assert_eq!([0.0, 250.0, 40_000.0, 1_500_000.0].map(count_text), ["0", "250", "40k", "1.5M"]);
    assert_eq!([0.0, 50_000.0, -1_200_000.0].map(signed_text), ["0", "+50 µs", "−1.2 ms"]);
    assert_eq!([200.0, 90e9, 300e9, 10_800e9].map(short_span), ["200 ns", "90 s", "5 min", "3 h"]);
    assert_eq!([100.0, 120.0, 500.0, 9.0].map(|span| step(span, 5.0)), [20.0, 50.0, 100.0, 2.0]);
}

#[test]
fn curves_are_well_formed_whatever_they_are_made_of() {
    let curve = |values: Vec<Option<f64>>| TimeCurve {
        name: HOSTILE.into(),
        colour: Colour::Line(1),
        band: values.iter().map(|value| value.map(|value| (value - 5.0, value + 5.0))).collect(),
        values,
    };
    let gapped = vec![Some(3.0), None, Some(1e12), Some(-4.0), None, None];
    for (scale, values) in [
        (Scale::Count, vec![]),
        (Scale::Count, vec![Some(0.0)]),
        (Scale::Count, vec![Some(1e15); 400]),
        (Scale::SignedSpan, gapped.clone()),
        (Scale::SignedSpan, vec![Some(0.0); 3]),
        (Scale::SignedSpan, vec![None; 3]),
    ] {
        let mut curves = vec![curve(values.clone())];
        curves.push(TimeCurve { colour: Colour::Stream, band: Vec::new(), ..curve(values) });
        let (title, words) = (HOSTILE.to_owned(), HOSTILE.to_owned());
        well_formed(&Curves { title, words, axis: axis(6_000), cell: Nanos(1_000), scale, curves }.svg());
    }
}

#[test]
fn one_wild_cell_does_not_flatten_the_others() {
    let mut values = vec![Some(50_000.0); 99];
    values.push(Some(9e9));
    let curve = TimeCurve { name: "A".into(), colour: Colour::Line(0), values, band: Vec::new() };
    let (title, words) = ("lead".to_owned(), String::new());
    let curves =
        Curves { title, words, axis: axis(100), cell: Nanos(1), scale: Scale::SignedSpan, curves: vec![curve] };
    let svg = curves.svg();
    assert!(labels(&svg).contains(&"+80 µs"), "{:?}", labels(&svg));
}

#[test]
fn rows_and_strips_are_well_formed_and_say_how_many() {
    let row = |counts: Vec<u64>| Row { name: HOSTILE.into(), colour: Colour::Stream, counts };
    let rows = vec![row(vec![]), row(vec![0, 5, u64::MAX]), row(vec![1; 400])];
    let (title, words) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    let rows = Rows { title, words, axis: axis(400), cell: Nanos(1), unit: "missing".into(), rows };
    let svg = rows.svg();
    well_formed(&svg);
    assert!(labels(&svg).contains(&"no missing") && labels(&svg).contains(&"400 missing, at most 1 per bar"));
    let segment = |from, to| StripSegment { from: Nanos(from), to: Nanos(to), kind: 0, words: HOSTILE.into() };
    let start = axis(1).start.0;
    let (title, words) = (HOSTILE.to_owned(), HOSTILE.to_owned());
    let kinds = vec![StripKind { name: "silent", fill: "var(--c1)" }];
    let stretches = vec![segment(start, start), segment(0, u64::MAX), segment(start + 5, start)];
    let rows = vec![(HOSTILE.to_owned(), stretches), ("B".to_owned(), vec![])];
    well_formed(&Strips { title, words, axis: axis(400), kinds, rows }.svg());
}

#[test]
fn columns_and_leads_are_well_formed_and_say_who_came_first() {
    for counts in [vec![], vec![0, 0], vec![1, 900, 3], vec![u64::MAX; 64]] {
        let classes = counts.iter().enumerate().map(|(i, _)| Lengths::label(i)).collect();
        let groups =
            vec![(HOSTILE.to_owned(), Colour::Line(0), counts.clone()), ("B".to_owned(), Colour::Line(1), counts)];
        let (title, words, unit) = (HOSTILE.to_owned(), HOSTILE.to_owned(), "in a row".to_owned());
        well_formed(&Columns { title, words, unit, classes, groups }.svg());
    }
    for (first_ahead, second_ahead) in [
        (vec![], vec![]),
        (vec![(0, 3)], vec![]),
        (vec![(150_000, 300), (900_000, 5)], vec![(40_000, 100)]),
        (vec![(1, 1)], vec![(60_000_000_000, 1)]),
    ] {
        let (title, words) = (HOSTILE.to_owned(), HOSTILE.to_owned());
        let (first, second) = ((HOSTILE.to_owned(), 0), ("B".to_owned(), 1));
        let leads = Leads { title, words, first, second, first_ahead, second_ahead };
        well_formed(&leads.svg());
        if leads.first_ahead.len() == 2 {
            assert!(labels(&leads.svg()).contains(&"← B first: 24.7 %"), "{:?}", labels(&leads.svg()));
        }
    }
}
