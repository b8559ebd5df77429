//! How values are spread: minimum, quartiles, maximum.

/// How values are spread.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spread {
    /// How many values.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// The first quartile.
    pub q1: f64,
    /// The median.
    pub median: f64,
    /// The third quartile.
    pub q3: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The spread of values; `None` if there are none. A quartile that falls between two values is interpolated.
    ///
    /// ```
    /// use twinline_analysis::latency::Spread;
    /// let spread = Spread::of([3.0, 1.0, 2.0, 5.0, 4.0]).unwrap();
    /// assert_eq!((spread.min, spread.q1, spread.median, spread.q3, spread.max), (1.0, 2.0, 3.0, 4.0, 5.0));
    /// assert_eq!(Spread::of([1.0, 2.0]).unwrap().median, 1.5);
    /// ```
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let at = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Some(Spread { count: sorted.len(), min, q1: at(0.25), median: at(0.5), q3: at(0.75), max })
    }
}
