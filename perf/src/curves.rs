//! Curves as one SVG: one small chart per series, one below the other, with values in powers of two from left to right.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 34.0;
const BELOW: f64 = 40.0;

/// One chart per series of points. `unit` labels the vertical axis, which begins at zero.
pub fn svg(unit: &str, series: &[(&str, Vec<(f64, f64)>)]) -> String {
    let chart = TOP + HEIGHT + BELOW;
    let (width, height) = (LEFT + WIDTH + 40.0, chart * series.len() as f64 + 10.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (i, (name, points)) in series.iter().enumerate() {
        let bottom = chart * i as f64 + TOP + HEIGHT;
        let log = |value: f64| value.max(1.0).log2();
        let (low, high) = (points.first().map_or(0.0, |p| log(p.0)), points.last().map_or(1.0, |p| log(p.0)));
        let top = ceiling(points.iter().map(|point| point.1).fold(1.0, f64::max));
        let x = |value: f64| LEFT + WIDTH * (log(value) - low) / (high - low).max(1e-9);
        let y = |value: f64| bottom - HEIGHT * value / top;
        let mut text = |x: f64, y: f64, anchor: &str, what: &str| {
            writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>")
                .expect("a string takes all");
        };
        text(LEFT, bottom - HEIGHT - 14.0, "start", &format!("{unit}, by {name}"));
        for share in [0.0, 0.5, 1.0] {
            text(LEFT - 8.0, y(top * share) + 4.0, "end", &format!("{}", top * share));
        }
        for (value, cost) in points {
            text(x(*value), bottom + 16.0, "middle", &format!("{value}"));
            text(x(*value), y(*cost) - 7.0, "middle", &format!("{cost:.1}"));
        }
        let line: Vec<String> =
            points.iter().map(|(value, cost)| format!("{:.1},{:.1}", x(*value), y(*cost))).collect();
        let (right, ceiling) = (LEFT + WIDTH, bottom - HEIGHT);
        writeln!(
            out,
            "<path d=\"M{LEFT} {ceiling}V{bottom}H{right}\" fill=\"none\" stroke=\"#888\"/>\n\
             <polyline points=\"{}\" fill=\"none\" stroke=\"#1f77b4\" stroke-width=\"2\"/>",
            line.join(" ")
        )
        .expect("a string takes all");
    }
    out + "</svg>\n"
}

/// The next round number: 1, 2 or 5 followed by zeros.
fn ceiling(value: f64) -> f64 {
    let unit = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0].map(|n| n * unit).into_iter().find(|n| *n >= value).unwrap_or(10.0 * unit)
}
