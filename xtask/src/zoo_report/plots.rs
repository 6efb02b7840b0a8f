//! The drawings: curves by family, effect at equal dose against parameters, symmetry by law.

use super::document::Figure;
use super::rows::Row;
use super::written::{counted, nats, whole};
use super::zoo::{Zoo, holds, median};
use crate::paper::escape;

/// Between the edge of a drawing and its axes.
const LEFT: f64 = 48.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 34.0;

/// A line from numbers to pixels; what lies outside is held at the ends.
struct Scale {
    from: [f64; 2],
    to: [f64; 2],
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let [low, high] = self.from;
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        self.to[0] + share * (self.to[1] - self.to[0])
    }
}

/// Round numbers in a range, about `most` of them.
fn ticks([low, high]: [f64; 2], most: f64) -> Vec<f64> {
    let rough = (high - low) / most;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).map(|at| at as f64 * step).collect()
}

/// The range of some numbers and of 0, with some room; never empty.
fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let [low, high] = values.fold([0.0_f64, 0.0], |[low, high], value| {
        [low.min(value), high.max(value)]
    });
    let room = ((high - low) * 0.06).max(0.05);
    [if low < 0.0 { low - room } else { 0.0 }, high + room]
}

fn line(class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) -> String {
    format!(
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
    )
}

fn text(class: &str, [x, y]: [f64; 2], words: &str) -> String {
    format!(
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>\n",
        escape(words)
    )
}

/// A tick's number, without noughts that say nothing.
fn short(value: f64) -> String {
    let written = format!("{value:.2}").replace('-', "−");
    written
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

/// Horizontal lines with their numbers.
fn rungs(up: &Scale, left: f64, right: f64) -> String {
    let lines = ticks(up.from, 5.0).into_iter().map(|value| {
        let y = up.at(value);
        let class = if value == 0.0 { "axis" } else { "grid" };
        line(class, [left, y], [right, y]) + &text("end", [left - 6.0, y + 4.0], &short(value))
    });
    lines.collect()
}

// ---- curves --------------------------------------------------------------------------------------

const PANELS: usize = 3;
const PANEL: [f64; 2] = [300.0, 220.0];

/// d over c of every method, a panel for each family, with the median of the family.
pub fn curves(zoo: &Zoo, behaviour: &str) -> Figure {
    let rows = zoo.standing_rows(behaviour);
    let families: Vec<&str> = zoo
        .families()
        .into_iter()
        .filter(|family| rows.iter().any(|row| zoo.family(row) == *family))
        .collect();
    // What coefficients beyond 1 do to a broken model must not flatten all else.
    let inside = rows.iter().flat_map(|row| {
        let at = |c| row.number(|measured| measured.d(c));
        [-1.5, -1.0, 0.0, 1.0, 1.5].into_iter().filter_map(at)
    });
    let values = range(inside);
    let mut drawing = String::new();
    let mut words = Vec::new();
    for (at, family) in families.iter().enumerate() {
        let of: Vec<&Row> = rows
            .iter()
            .copied()
            .filter(|row| zoo.family(row) == *family)
            .collect();
        let left = (at % PANELS) as f64 * PANEL[0];
        let top = (at / PANELS) as f64 * PANEL[1];
        drawing += &panel(family, &of, values, [left, top]);
        let at = |c: f64| nats(median_d(&of, c));
        words.push(format!(
            "{family}, {}: median d {} at c = −1, {} at 0, {} at 1",
            counted(of.len(), "method"),
            at(-1.0),
            at(0.0),
            at(1.0)
        ));
    }
    Figure {
        name: format!("{behaviour}-curves"),
        title: format!("{behaviour}: d over c by family"),
        description: format!("{}.", words.join("; ")),
        caption: "d in nats per token over c. A thin line is a method, the thick one the median of its family; what lies outside is drawn at the edge.".into(),
        width: (PANEL[0] * families.len().clamp(1, PANELS) as f64) as u32,
        height: (PANEL[1] * families.len().div_ceil(PANELS).max(1) as f64) as u32,
        drawing,
    }
}

fn median_d(rows: &[&Row], c: f64) -> Option<f64> {
    median(
        rows.iter()
            .filter_map(|row| row.number(|measured| measured.d(c))),
    )
}

fn panel(family: &str, rows: &[&Row], values: [f64; 2], [x, y]: [f64; 2]) -> String {
    let (left, right) = (x + LEFT, x + PANEL[0] - RIGHT);
    let (top, bottom) = (y + TOP, y + PANEL[1] - BOTTOM);
    let coefficients = || {
        let all = rows.iter().filter_map(|row| row.measured.as_ref());
        all.flat_map(|measured| measured.coefficients.iter().copied())
    };
    let most = coefficients().fold(1.0_f64, |most, c| most.max(c.abs()));
    let across = Scale {
        from: [-most, most],
        to: [left, right],
    };
    let up = Scale {
        from: values,
        to: [bottom, top],
    };
    let mut out = text(
        "name",
        [left, y + 15.0],
        &format!("{family} ({})", rows.len()),
    );
    out += &rungs(&up, left, right);
    for c in ticks(across.from, 4.0) {
        let x = across.at(c);
        let class = if c == 0.0 { "axis" } else { "grid" };
        out += &line(class, [x, top], [x, bottom]);
        out += &text("middle", [x, bottom + 15.0], &short(c));
    }
    let path = |points: &[(f64, f64)]| {
        let points: Vec<String> = points
            .iter()
            .map(|(c, d)| format!("{:.1},{:.1}", across.at(*c), up.at(*d)))
            .collect();
        format!("M{}", points.join("L"))
    };
    for row in rows {
        let Some(measured) = &row.measured else {
            continue;
        };
        let points = measured.coefficients.iter().zip(&measured.d_nats);
        let points: Vec<_> = points.filter_map(|(c, d)| Some((*c, (*d)?))).collect();
        if !points.is_empty() {
            out += &format!(
                "<path class=\"curve\" d=\"{}\"><title>{}</title></path>\n",
                path(&points),
                escape(&row.name)
            );
        }
    }
    let mut grid: Vec<f64> = coefficients().collect();
    grid.sort_by(f64::total_cmp);
    grid.dedup();
    let middle: Vec<_> = grid
        .into_iter()
        .filter_map(|c| Some((c, median_d(rows, c)?)))
        .collect();
    if !middle.is_empty() {
        out += &format!("<path class=\"median\" d=\"{}\"/>\n", path(&middle));
    }
    out
}

// ---- points --------------------------------------------------------------------------------------

const WIDE: [f64; 2] = [860.0, 540.0];

/// A family's mark, around a point; without colour it is told by its shape.
fn mark(shape: usize, [x, y]: [f64; 2], holds: bool, words: &str) -> String {
    let path = match shape {
        0 => format!(
            "M{:.1},{y:.1}a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0z",
            x - 4.5
        ),
        1 => format!("M{:.1},{:.1}h8v8h-8z", x - 4.0, y - 4.0),
        2 => format!("M{x:.1},{:.1}l5,9h-10z", y - 5.0),
        3 => format!("M{x:.1},{:.1}l5.5,5.5l-5.5,5.5l-5.5,-5.5z", y - 5.5),
        4 => format!("M{x:.1},{:.1}l5,-9h-10z", y + 5.0),
        _ => format!("M{:.1},{y:.1}h10M{x:.1},{:.1}v10", x - 5.0, y - 5.0),
    };
    format!(
        "<path class=\"mark\" data-holds=\"{holds}\" d=\"{path}\"><title>{}</title></path>\n",
        escape(words)
    )
}

/// The names of points, those that find a place; the others are told by the table.
struct Labels {
    /// The points, then the names.
    taken: Vec<[f64; 4]>,
    points: usize,
    bounds: [f64; 4],
}

impl Labels {
    /// Left, top, right, bottom.
    fn new(points: &[[f64; 2]], bounds: [f64; 4]) -> Self {
        let around = |[x, y]: &[f64; 2]| [x - 5.0, y - 5.0, x + 5.0, y + 5.0];
        Self {
            taken: points.iter().map(around).collect(),
            points: points.len(),
            bounds,
        }
    }

    /// Beside the point.
    fn place(&mut self, [x, y]: [f64; 2], words: &str) -> Option<String> {
        let width = width(words);
        let lefts = [
            [x + 7.0, y + 3.5],
            [x - 7.0 - width, y + 3.5],
            [x - width / 2.0, y - 8.0],
            [x - width / 2.0, y + 15.0],
        ];
        let place = lefts
            .into_iter()
            .find(|place| self.is_free(*place, width))?;
        self.take(place, width);
        Some(text("label", place, words))
    }

    /// Farther away, at the end of a thin line that crosses no other name.
    fn place_far(&mut self, [x, y]: [f64; 2], words: &str) -> Option<String> {
        let width = width(words);
        let places = FAR
            .iter()
            .flat_map(|far| (0..16).map(move |turn| (*far, turn)));
        let ends = places.map(|(far, turn)| {
            let angle = f64::from(turn) / 16.0 * std::f64::consts::TAU;
            [x + far * angle.cos() * 1.6, y + far * angle.sin()]
        });
        let mut found = ends.filter_map(|[ex, ey]| {
            // The line ends at the nearer side of the name.
            let left = if ex < x { ex - width } else { ex };
            let place = [left, ey + 3.5];
            let clear = (0..=12).all(|step| {
                let share = f64::from(step) / 12.0;
                let at = [x + (ex - x) * share, y + (ey - y) * share];
                let names = &self.taken[self.points..];
                names
                    .iter()
                    .all(|it| at[0] < it[0] || at[0] > it[2] || at[1] < it[1] || at[1] > it[3])
            });
            (clear && self.is_free(place, width)).then_some(([ex, ey], place))
        });
        let (end, place) = found.next()?;
        drop(found);
        self.take(place, width);
        Some(line("leader", [x, y], end) + &text("label", place, words))
    }

    fn is_free(&self, [left, base]: [f64; 2], width: f64) -> bool {
        let own = around([left, base], width);
        let [l, t, r, b] = self.bounds;
        let inside = own[0] >= l && own[1] >= t && own[2] <= r && own[3] <= b;
        inside && !self.taken.iter().any(|other| meet(&own, other))
    }

    fn take(&mut self, place: [f64; 2], width: f64) {
        self.taken.push(around(place, width));
    }
}

/// Whether two boxes have a point in common.
fn meet(a: &[f64; 4], b: &[f64; 4]) -> bool {
    a[0] <= b[2] && b[0] <= a[2] && a[1] <= b[3] && b[1] <= a[3]
}

/// How far away from a point a name may be, upwards.
const FAR: [f64; 6] = [16.0, 26.0, 38.0, 52.0, 68.0, 90.0];

/// Of a name in pixels, about.
fn width(words: &str) -> f64 {
    words.chars().count() as f64 * 5.8
}

/// The box of a name whose line of writing begins there.
fn around([left, base]: [f64; 2], width: f64) -> [f64; 4] {
    [left, base - 9.0, left + width, base + 2.0]
}

/// d at equal dose against parameters, a mark for each row.
pub fn doses(zoo: &Zoo, behaviour: &str) -> Figure {
    let rows = zoo.measured(behaviour);
    let points: Vec<(&Row, f64, f64)> = rows
        .iter()
        .filter(|row| row.repeats().is_none())
        .filter_map(|row| {
            let parameters = row.parameters.filter(|count| *count > 0)?;
            Some((*row, parameters as f64, row.dose_range()?))
        })
        .collect();
    let families = zoo.families();
    let shape = |family: &str| families.iter().position(|known| *known == family);
    let decades = points
        .iter()
        .fold([f64::MAX, 0.0_f64], |[low, high], point| {
            let power = point.1.log10();
            [low.min(power.floor()), high.max(power.ceil())]
        });
    let decades = if points.is_empty() {
        [2.0, 6.0]
    } else {
        [decades[0], decades[1].max(decades[0] + 1.0)]
    };
    let [left, right] = [LEFT, WIDE[0] - RIGHT];
    let [top, bottom] = [TOP + 20.0, WIDE[1] - BOTTOM - 8.0];
    let across = Scale {
        from: decades,
        to: [left, right],
    };
    let up = Scale {
        from: range(points.iter().map(|point| point.2)),
        to: [bottom, top],
    };
    let mut drawing = rungs(&up, left, right);
    for decade in decades[0] as i32..=decades[1] as i32 {
        let x = across.at(f64::from(decade));
        drawing += &line("grid", [x, top], [x, bottom]);
        let words = whole(10_u64.pow(decade.unsigned_abs()));
        drawing += &text("middle", [x, bottom + 15.0], &words);
    }
    drawing += &text(
        "middle",
        [f64::midpoint(left, right), WIDE[1] - 8.0],
        "parameters",
    );
    drawing += &text("name", [8.0, 14.0], "d at equal dose, nats per token");
    let mut x = LEFT;
    for family in &families {
        drawing += &mark(shape(family).unwrap_or(5), [x, TOP + 3.0], false, family);
        drawing += &text("label", [x + 9.0, TOP + 7.0], family);
        x += family.chars().count() as f64 * 6.5 + 34.0;
    }
    let at = |point: &(&Row, f64, f64)| [across.at(point.1.log10()), up.at(point.2)];
    let places: Vec<[f64; 2]> = points.iter().map(at).collect();
    let mut labels = Labels::new(&places, [left, top, right, bottom]);
    for (point, place) in points.iter().zip(&places) {
        let (row, parameters, d) = point;
        let words = format!(
            "{}: {} nats, {} parameters",
            row.name,
            nats(Some(*d)),
            whole(*parameters as u64)
        );
        let shape = shape(zoo.family(row)).unwrap_or(5);
        drawing += &mark(shape, *place, holds(row), &words);
    }
    let mut names = String::new();
    let mut crowded = Vec::new();
    for (point, place) in points.iter().zip(&places) {
        match labels.place(*place, &point.0.name) {
            Some(name) => names += &name,
            None => crowded.push((&point.0.name, *place)),
        }
    }
    for (name, place) in crowded {
        names += &labels.place_far(place, name).unwrap_or_default();
    }
    drawing += &names;
    let told = |found: Option<&(&Row, f64, f64)>| {
        found.map_or("none".to_owned(), |(row, parameters, d)| {
            let parameters = whole(*parameters as u64);
            format!(
                "{} ({} nats, {parameters} parameters)",
                row.name,
                nats(Some(*d))
            )
        })
    };
    Figure {
        name: format!("{behaviour}-dose"),
        title: format!("{behaviour}: d at equal dose against parameters"),
        description: format!(
            "{} rows that reach the dose on both sides. Most: {}. Least: {}. All are in the tables.",
            points.len(),
            told(points.first()),
            told(points.last())
        ),
        caption: "How far d moves from one end to the other where both cost 1 nat (95th percentile of the KL on neutral answers), over the number of parameters, which grows tenfold from line to line. Shapes are families; a mark in the colour of plus holds the judging rule. Rows that do not reach the dose are left out.".into(),
        width: (WIDE[0] + 24.0) as u32,
        height: WIDE[1] as u32,
        drawing,
    }
}

/// The shares of the width that columns take whose marks and names are so wide in all: none less than a tenth.
fn columns(widths: &[f64]) -> Vec<f64> {
    let all: f64 = widths.iter().sum();
    let least = 0.1_f64.min(1.0 / widths.len().max(1) as f64);
    let free = 1.0 - least * widths.len() as f64;
    let share = |width: &f64| least + free * width / all.max(1.0);
    widths.iter().map(share).collect()
}

/// Symmetry, a column for each law.
pub fn symmetries(zoo: &Zoo, behaviour: &str) -> Figure {
    let rows = zoo.standing_rows(behaviour);
    let mut laws: Vec<(String, Vec<(&Row, f64)>)> = Vec::new();
    for row in rows {
        let law = row.measured.as_ref().map(super::rows::Measured::law);
        let (Some(law), Some(value)) = (law, row.number(|measured| measured.symmetry)) else {
            continue;
        };
        match laws.iter_mut().find(|(known, _)| *known == law) {
            Some((_, points)) => points.push((row, value)),
            None => laws.push((law, vec![(row, value)])),
        }
    }
    laws.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.0.cmp(&b.0)));
    let [left, right] = [LEFT, WIDE[0] - RIGHT];
    let [top, bottom] = [TOP, WIDE[1] - BOTTOM];
    let lowest = laws.iter().flat_map(|(_, points)| points);
    let lowest = lowest.fold(0.9_f64, |low, (_, value)| low.min(*value));
    let up = Scale {
        from: [(lowest * 10.0).floor() / 10.0, 1.0],
        to: [bottom, top],
    };
    let mut drawing = text(
        "name",
        [8.0, 14.0],
        "symmetry (1: −1 takes away what 1 adds)",
    );
    drawing += &rungs(&up, left, right);
    let named = |(_, points): &(String, Vec<(&Row, f64)>)| -> f64 {
        points.iter().map(|(row, _)| width(&row.name) + 20.0).sum()
    };
    let columns = columns(&laws.iter().map(named).collect::<Vec<_>>());
    let mut words = Vec::new();
    let mut marks = String::new();
    let mut column = left;
    for ((law, points), room) in laws.iter_mut().zip(columns) {
        let room = room * (right - left);
        let x = column + room / 2.0;
        let heading = format!("{law} ({})", points.len());
        drawing += &text("middle", [x, bottom + 18.0], &heading);
        if let Some(middle) = median(points.iter().map(|(_, value)| *value)) {
            let y = up.at(middle);
            drawing += &line("median", [column + 6.0, y], [column + room - 10.0, y]);
            words.push(format!(
                "{law}, {}: median {}",
                counted(points.len(), "method"),
                nats(Some(middle))
            ));
        }
        // Each with its name to the right, side by side where they would lie on each other; without it where
        // there is no room.
        points.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut taken: Vec<[f64; 4]> = Vec::new();
        for (row, value) in points.iter() {
            let y = up.at(*value);
            let own = |x: f64, width: f64| [x - 6.0, y - 5.5, x + 8.0 + width, y + 5.5];
            let mut place = |width: f64| {
                let most = ((room - 20.0 - width) / 3.0).max(0.0) as usize;
                let mut all = (0..=most).map(|step| column + 10.0 + step as f64 * 3.0);
                let x = all.find(|x| taken.iter().all(|other| !meet(&own(*x, width), other)))?;
                taken.push(own(x, width));
                Some(x)
            };
            let named = place(width(&row.name));
            let x = named.or_else(|| place(0.0)).unwrap_or(column + 10.0);
            let told = format!("{}: {}", row.name, nats(Some(*value)));
            marks += &mark(0, [x, y], holds(row), &told);
            if named.is_some() {
                marks += &text("label", [x + 7.0, y + 3.5], &row.name);
            }
        }
        column += room;
    }
    drawing += &marks;
    Figure {
        name: format!("{behaviour}-symmetry"),
        title: format!("{behaviour}: symmetry by law"),
        description: format!("{}.", words.join("; ")),
        caption: "1 − |Δ(1) + Δ(−1)| / (|Δ(1)| + |Δ(−1)|), a mark for each method; the thick line is the median of a law. A mark in the colour of plus holds the judging rule.".into(),
        width: WIDE[0] as u32,
        height: WIDE[1] as u32,
        drawing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks([-2.0, 2.0], 4.0), [-2.0, -1.0, 0.0, 1.0, 2.0]);
        assert_eq!(ticks([0.0, 1.0], 5.0).len(), 6);
        assert_eq!(short(-0.5), "−0.5");
        assert_eq!(short(10.0), "10");
    }

    #[test]
    fn a_scale_holds_what_lies_outside() {
        let up = Scale {
            from: [0.0, 2.0],
            to: [100.0, 0.0],
        };
        assert_eq!(
            [-1.0, 0.0, 0.5, 2.0, 9.0].map(|v| up.at(v)),
            [100.0, 100.0, 75.0, 0.0, 0.0]
        );
        let [low, high] = range([].into_iter());
        assert!(low < high, "a scale needs a length");
    }

    #[test]
    fn columns_fill_the_width_and_none_vanishes() {
        let found = columns(&[2800.0, 400.0, 100.0]);
        assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(found.windows(2).all(|two| two[0] > two[1]) && found[2] > 0.1);
        assert!(columns(&[]).is_empty());
    }

    #[test]
    fn names_of_a_crowd_find_a_place_farther_away() {
        let points: Vec<[f64; 2]> = (0..12).map(|at| [200.0 + f64::from(at), 150.0]).collect();
        let mut labels = Labels::new(&points, [0.0, 0.0, 400.0, 300.0]);
        let beside = points
            .iter()
            .filter(|at| labels.place(**at, "a name").is_some());
        let beside = beside.count();
        assert!(beside < 5, "{beside}");
        let far = points[beside..]
            .iter()
            .filter(|at| labels.place_far(**at, "a name").is_some());
        assert_eq!(far.count(), 12 - beside);
        let names = &labels.taken[points.len()..];
        for (at, a) in names.iter().enumerate() {
            for b in &names[at + 1..] {
                assert!(!meet(a, b));
            }
        }
    }

    #[test]
    fn labels_never_lie_on_each_other() {
        let points = [[50.0, 50.0], [52.0, 50.0], [51.0, 51.0]];
        let mut labels = Labels::new(&points, [0.0, 0.0, 120.0, 100.0]);
        let placed: Vec<bool> = (0..3)
            .map(|at| labels.place(points[at], "a long name").is_some())
            .collect();
        let boxes = &labels.taken[points.len()..];
        assert_eq!(boxes.len(), placed.iter().filter(|found| **found).count());
        assert!(!boxes.is_empty());
        for (at, a) in boxes.iter().enumerate() {
            for b in &boxes[at + 1..] {
                assert!(!meet(a, b));
            }
        }
    }
}
