//! Owns the attackers' linear algebra: standardised features, a discriminant with shrinkage, ridge regression, logistic
//! regression.

use nalgebra::{Cholesky, DMatrix, DVector, RowDVector};

/// Labelled features, one row each.
pub(crate) struct Samples {
    pub features: DMatrix<f64>,
    pub classes: Vec<usize>,
}

impl Samples {
    pub(crate) fn new<'a>(rows: impl Iterator<Item = (&'a [f32], usize)>) -> Self {
        let (mut values, mut classes, mut width) = (Vec::new(), Vec::new(), 0);
        for (features, class) in rows {
            width = features.len();
            values.extend(features.iter().map(|v| f64::from(*v)));
            classes.push(class);
        }
        Self { features: DMatrix::from_row_slice(classes.len(), width, &values), classes }
    }

    /// One row for each sample with a 1 in its class.
    fn one_hot(&self, classes: usize) -> DMatrix<f64> {
        let mut hot = DMatrix::zeros(self.classes.len(), classes);
        for (row, class) in self.classes.iter().enumerate() {
            if let Some(value) = hot.get_mut((row, *class)) {
                *value = 1.0;
            }
        }
        hot
    }
}

/// Features that vary by less than one over this do not vary.
const SCALE_MAX: f64 = 1e6;

/// Features of mean 0 and spread 1 over the samples that it was made from.
pub(crate) struct Standard {
    mean: RowDVector<f64>,
    scale: RowDVector<f64>,
}

impl Standard {
    pub(crate) fn of(features: &DMatrix<f64>) -> Self {
        let mean = features.row_mean();
        let variance = features.row_variance();
        Self { mean, scale: variance.map(|v| (1.0 / v.sqrt()).min(SCALE_MAX)) }
    }

    /// Whether nothing varies at all: there is nothing to learn from.
    pub(crate) fn is_flat(&self) -> bool {
        self.scale.iter().all(|scale| *scale >= SCALE_MAX)
    }

    pub(crate) fn apply(&self, features: &DMatrix<f64>) -> DMatrix<f64> {
        let mut out = features.clone();
        for mut row in out.row_iter_mut() {
            row -= &self.mean;
            row.component_mul_assign(&self.scale);
        }
        out
    }
}

/// Scores of classes: `features * weights + bias`.
#[derive(Clone)]
pub(crate) struct Scorer {
    pub weights: DMatrix<f64>,
    pub bias: RowDVector<f64>,
}

impl Scorer {
    pub(crate) fn scores(&self, features: &DMatrix<f64>) -> DMatrix<f64> {
        let mut scores = features * &self.weights;
        for mut row in scores.row_iter_mut() {
            row += &self.bias;
        }
        scores
    }
}

/// Sums that several shrinkages of one discriminant share.
pub(crate) struct Discriminant {
    means: DMatrix<f64>,
    within: DMatrix<f64>,
}

impl Discriminant {
    /// Class means and pooled covariance of standardised samples; every class has a sample.
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^24 samples")]
    pub(crate) fn of(samples: &Samples, classes: usize) -> Self {
        let hot = samples.one_hot(classes).transpose();
        let mut means = &hot * &samples.features;
        for (mut row, members) in means.row_iter_mut().zip(hot.row_iter()) {
            row /= members.sum().max(1.0);
        }
        let mut rest = samples.features.clone();
        for (mut row, class) in rest.row_iter_mut().zip(&samples.classes) {
            row -= means.row(*class);
        }
        let n = samples.classes.len().saturating_sub(classes).max(1) as f64;
        let within = rest.transpose() * &rest / n;
        Self { means, within }
    }

    /// The discriminant whose covariance is drawn towards a multiple of the identity by `shrinkage`, 0 to 1.
    pub(crate) fn scorer(&self, shrinkage: f64) -> Option<Scorer> {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred features")]
        let d = self.within.nrows() as f64;
        let level = (self.within.trace() / d).max(1e-9);
        let mut covariance = &self.within * (1.0 - shrinkage);
        for i in 0..covariance.nrows() {
            if let Some(value) = covariance.get_mut((i, i)) {
                *value += shrinkage * level + 1e-9;
            }
        }
        let weights = Cholesky::new(covariance)?.solve(&self.means.transpose());
        let halves = self.means.row_iter().zip(weights.column_iter());
        let bias = halves.map(|(mean, weights)| -0.5 * (mean * weights).sum());
        Some(Scorer { bias: RowDVector::from_iterator(weights.ncols(), bias), weights })
    }
}

/// Sums that several penalties of one ridge regression share. Samples of one photo have one target.
pub(crate) struct Ridge {
    gram: DMatrix<f64>,
    products: DMatrix<f64>,
    bias: RowDVector<f64>,
    samples: f64,
}

impl Ridge {
    /// Targets, one row a photo, on standardised features; `photos` has the row of each sample.
    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^24 samples")]
    pub(crate) fn of(features: &DMatrix<f64>, photos: &[usize], targets: &DMatrix<f64>) -> Self {
        let mut sums = DMatrix::zeros(features.ncols(), targets.nrows());
        let mut times = RowDVector::zeros(targets.nrows());
        for (row, photo) in features.row_iter().zip(photos) {
            let mut sum = sums.column_mut(*photo);
            sum += row.transpose();
            if let Some(times) = times.get_mut(*photo) {
                *times += 1.0;
            }
        }
        let samples = features.nrows().max(1) as f64;
        Self {
            gram: features.transpose() * features,
            products: sums * targets,
            bias: times * targets / samples,
            samples,
        }
    }

    /// Targets are predicted by `features * weights + mean`.
    pub(crate) fn scorer(&self, penalty: f64) -> Option<Scorer> {
        let mut gram = self.gram.clone();
        for i in 0..gram.nrows() {
            if let Some(value) = gram.get_mut((i, i)) {
                *value += penalty * self.samples;
            }
        }
        let weights = Cholesky::new(gram)?.solve(&self.products);
        Some(Scorer { weights, bias: self.bias.clone() })
    }
}

/// Steps of the logistic regression, and pairs that its curvature is remembered by.
const STEPS: usize = 60;
const PAIRS: usize = 8;

/// Multinomial logistic regression with a quadratic penalty, by L-BFGS.
pub(crate) fn logistic(samples: &Samples, classes: usize, penalty: f64) -> Scorer {
    let (rows, width) = samples.features.shape();
    let problem = Logistic {
        turned: samples.features.transpose(),
        features: &samples.features,
        hot: samples.one_hot(classes),
        penalty,
    };
    let mut at = DVector::zeros((width + 1) * classes);
    let (mut loss, mut slope) = problem.loss(&at);
    let mut memory: Vec<(DVector<f64>, DVector<f64>)> = Vec::new();
    for _ in 0..if rows == 0 { 0 } else { STEPS } {
        let mut direction = -downhill(&slope, &memory);
        let mut fall = direction.dot(&slope);
        if fall >= 0.0 {
            memory.clear();
            direction = -slope.clone();
            fall = direction.dot(&slope);
        }
        let mut step = if memory.is_empty() { 1.0 / slope.norm().max(1.0) } else { 1.0 };
        let next = loop {
            let there = &at + &direction * step;
            let (new_loss, new_slope) = problem.loss(&there);
            if new_loss <= loss + 1e-4 * step * fall || step < 1e-6 {
                break (there, new_loss, new_slope);
            }
            step *= 0.5;
        };
        let (there, new_loss, new_slope) = next;
        memory.push((&there - &at, &new_slope - &slope));
        if memory.len() > PAIRS {
            memory.remove(0);
        }
        let done = (loss - new_loss).abs() < 1e-5 * loss.abs();
        (at, loss, slope) = (there, new_loss, new_slope);
        if done {
            break;
        }
    }
    problem.scorer(&at)
}

/// The two-loop recursion: the slope through the remembered curvature.
fn downhill(slope: &DVector<f64>, memory: &[(DVector<f64>, DVector<f64>)]) -> DVector<f64> {
    let mut q = slope.clone();
    let mut shares = Vec::with_capacity(memory.len());
    for (moved, turned) in memory.iter().rev() {
        let rho = 1.0 / moved.dot(turned).max(1e-12);
        let share = rho * moved.dot(&q);
        q.axpy(-share, turned, 1.0);
        shares.push((rho, share));
    }
    if let Some((moved, turned)) = memory.last() {
        q *= (moved.dot(turned) / turned.norm_squared().max(1e-12)).max(1e-9);
    }
    for ((moved, turned), (rho, share)) in memory.iter().zip(shares.into_iter().rev()) {
        let back = share - rho * turned.dot(&q);
        q.axpy(back, moved, 1.0);
    }
    q
}

struct Logistic<'a> {
    features: &'a DMatrix<f64>,
    turned: DMatrix<f64>,
    hot: DMatrix<f64>,
    penalty: f64,
}

impl Logistic<'_> {
    /// Weights and bias out of one long vector.
    fn scorer(&self, at: &DVector<f64>) -> Scorer {
        let (width, classes) = (self.features.ncols(), self.hot.ncols());
        let weights =
            DMatrix::from_column_slice(width, classes, at.rows(0, width * classes).as_slice());
        let bias = RowDVector::from_row_slice(at.rows(width * classes, classes).as_slice());
        Scorer { weights, bias }
    }

    #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^24 samples")]
    fn loss(&self, at: &DVector<f64>) -> (f64, DVector<f64>) {
        let scorer = self.scorer(at);
        let mut shares = scorer.scores(self.features);
        let n = self.features.nrows() as f64;
        let mut loss = 0.0;
        for (mut row, hot) in shares.row_iter_mut().zip(self.hot.row_iter()) {
            let top = row.max();
            row.apply(|v| *v = (*v - top).exp());
            let sum = row.sum();
            row /= sum;
            loss -= row.component_mul(&hot).sum().max(1e-300).ln() / n;
        }
        loss += 0.5 * self.penalty * scorer.weights.norm_squared();
        let error = (shares - &self.hot) / n;
        let weights = &self.turned * &error + &scorer.weights * self.penalty;
        let bias = error.row_sum();
        let slope = weights.iter().chain(bias.iter()).copied();
        (loss, DVector::from_iterator(at.len(), slope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three classes around three corners, one row of features each.
    fn corners() -> Samples {
        let rows: Vec<(Vec<f32>, usize)> = (0..60)
            .map(|i| {
                let class = i % 3;
                let noise = |k: usize| ((i * 37 + k * 11) % 13) as f32 / 13.0 - 0.5;
                let mut row = vec![noise(1), noise(2), noise(3)];
                row[class] += 4.0;
                (row, class)
            })
            .collect();
        Samples::new(rows.iter().map(|(row, class)| (row.as_slice(), *class)))
    }

    fn right(scorer: &Scorer, samples: &Samples) -> usize {
        let scores = scorer.scores(&samples.features);
        let tops = scores.row_iter().map(|row| row.transpose().argmax().0);
        tops.zip(&samples.classes).filter(|(top, class)| top == *class).count()
    }

    #[test]
    fn each_method_tells_corners_apart() {
        let samples = corners();
        let discriminant = Discriminant::of(&samples, 3);
        for shrinkage in [0.0, 0.3, 1.0] {
            assert_eq!(right(&discriminant.scorer(shrinkage).unwrap(), &samples), 60);
        }
        assert_eq!(right(&logistic(&samples, 3, 1e-3), &samples), 60);
        let standard = Standard::of(&samples.features).apply(&samples.features);
        let targets = samples.one_hot(3);
        let photos: Vec<usize> = (0..60).collect();
        let fitted = Ridge::of(&standard, &photos, &targets).scorer(1e-3).unwrap();
        let again = Samples { features: standard, classes: samples.classes.clone() };
        assert_eq!(right(&fitted, &again), 60);
    }

    #[test]
    fn the_slope_of_the_logistic_loss_is_its_derivative() {
        let samples = corners();
        let problem = Logistic {
            turned: samples.features.transpose(),
            features: &samples.features,
            hot: samples.one_hot(3),
            penalty: 0.1,
        };
        let at = DVector::from_fn(12, |i, _| (i as f64 * 0.37).sin());
        let (_, slope) = problem.loss(&at);
        for i in 0..12 {
            let mut moved = at.clone();
            moved[i] += 1e-5;
            let rise = (problem.loss(&moved).0 - problem.loss(&at).0) / 1e-5;
            assert!((rise - slope[i]).abs() < 1e-3, "{i}: {rise} {}", slope[i]);
        }
    }

    #[test]
    fn features_that_never_change_do_no_harm() {
        let rows = [(vec![0.5f32], 0), (vec![0.5], 1)];
        let samples = Samples::new(rows.iter().map(|(row, class)| (row.as_slice(), *class)));
        let standard = Standard::of(&samples.features).apply(&samples.features);
        assert!(standard.iter().all(|v| v.is_finite()));
        let scorer = Discriminant::of(&samples, 2).scorer(0.1).unwrap();
        assert!(scorer.scores(&samples.features).iter().all(|v| v.is_finite()));
    }
}
