//! The table, and the same as JSON lines.

use crate::turns::{Figure, Target};

impl Figure {
    fn verdict(&self) -> &'static str {
        let met = match self.target {
            Target::None => return "",
            Target::AtMost(most) => self.value <= most,
            Target::AtLeast(least) => self.value >= least,
        };
        if met { "met" } else { "NOT MET" }
    }
}

/// One object a line: `name`, `value`, `unit`, `baseline` (label to figure, in the unit of the row or, where the value
/// is a difference or a ratio, in that of its parts), and the `target`.
pub(crate) fn json(figures: &[Figure]) {
    for figure in figures {
        let baselines: Vec<String> =
            figure.baselines.iter().map(|(label, value)| format!("{label:?}:{}", number(*value))).collect();
        let target = match figure.target {
            Target::None => "null".to_string(),
            Target::AtMost(most) => format!("\"<= {most}\""),
            Target::AtLeast(least) => format!("\">= {least}\""),
        };
        println!(
            "{{\"name\":{:?},\"value\":{},\"unit\":{:?},\"baseline\":{{{}}},\"target\":{target}}}",
            figure.name,
            number(figure.value),
            figure.unit,
            baselines.join(",")
        );
    }
}

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.6}") } else { "null".to_string() }
}

/// For people.
pub(crate) fn table(figures: &[Figure]) {
    println!("{:<18} {:>10} {:>10}  {:<12} {:<8} {:>5}  baselines", "row", "target", "value", "unit", "verdict", "+-");
    for figure in figures {
        let target = match figure.target {
            Target::None => "-".to_string(),
            Target::AtMost(most) => format!("<= {}", short(most)),
            Target::AtLeast(least) => format!(">= {}", short(least)),
        };
        let baselines: Vec<String> =
            figure.baselines.iter().map(|(label, value)| format!("{label} {}", short(*value))).collect();
        println!(
            "{:<18} {:>10} {:>10}  {:<12} {:<8} {:>4.0}%  {}",
            figure.name,
            target,
            short(figure.value),
            figure.unit,
            figure.verdict(),
            figure.spread * 100.0,
            baselines.join(", ")
        );
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.1} M", value / 1e6),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.6}"),
    }
}
