-- Macros over numbers: quantiles, and what is significant.

CREATE MACRO p50(x) AS quantile_cont(x, 0.5);
COMMENT ON MACRO p50 IS 'Median; p50(duration_ns).';
CREATE MACRO p95(x) AS quantile_cont(x, 0.95);
COMMENT ON MACRO p95 IS '95th percentile.';
CREATE MACRO p99(x) AS quantile_cont(x, 0.99);
COMMENT ON MACRO p99 IS '99th percentile.';

-- Significance, the same as pprof/significance.py.

CREATE MACRO z_of_rate(before, after, before_s, after_s) AS
CASE
  WHEN before + after <= 0 THEN 0.0
  ELSE (after / after_s - before / before_s) / sqrt((before + after) / (before_s * after_s))
END;
COMMENT ON MACRO z_of_rate IS 'Did events per second change? Counts, and the seconds they were counted in.';

CREATE MACRO share_variance(before, after, all_before, all_after) AS
(before + after) / (all_before + all_after) * (1 - (before + after) / (all_before + all_after))
  * (1 / all_before + 1 / all_after);
COMMENT ON MACRO share_variance IS 'Variance of the difference of two shares when nothing changed.';

CREATE MACRO z_of_share(before, after, all_before, all_after) AS
CASE
  WHEN all_before <= 0 OR all_after <= 0 THEN 0.0
  WHEN share_variance(before, after, all_before, all_after) > 0
    THEN (after / all_after - before / all_before) / sqrt(share_variance(before, after, all_before, all_after))
  ELSE 0.0
END;
COMMENT ON MACRO z_of_share IS 'Did the share of all events change? Counts, and all events of either side.';

CREATE MACRO weaker(first, second) AS
CASE WHEN first * second <= 0 THEN 0.0 WHEN abs(second) < abs(first) THEN second ELSE first END;
COMMENT ON MACRO weaker IS 'The z nearer to zero; 0 when they disagree about the direction.';

-- W. J. Cody, Rational Chebyshev approximations for the error function, 1969; x is not negative.
CREATE MACRO erfc_small(x) AS
1 - x * ((((1.85777706184603153e-1 * x * x + 3.16112374387056560e0) * x * x + 1.13864154151050156e2) * x * x
      + 3.77485237685302021e2) * x * x + 3.20937758913846947e3)
  / ((((x * x + 2.36012909523441209e1) * x * x + 2.44024637934444173e2) * x * x + 1.28261652607737228e3) * x * x
      + 2.84423683343917062e3);

CREATE MACRO erfc_middle(x) AS
exp(-x * x) * ((((((((2.15311535474403846e-8 * x + 5.64188496988670089e-1) * x + 8.88314979438837594e0) * x
      + 6.61191906371416295e1) * x + 2.98635138197400131e2) * x + 8.81952221241769090e2) * x + 1.71204761263407058e3) * x
      + 2.05107837782607147e3) * x + 1.23033935479799725e3)
  / ((((((((x + 1.57449261107098347e1) * x + 1.17693950891312499e2) * x + 5.37181101862009858e2) * x
      + 1.62138957456669019e3) * x + 3.29079923573345963e3) * x + 4.36261909014324716e3) * x + 3.43936767414372164e3) * x
      + 1.23033935480374942e3);

CREATE MACRO erfc_large(x) AS
exp(-x * x) / x * (5.6418958354775628695e-1 - 1 / (x * x)
  * (((((1.63153871373020978e-2 / (x * x) + 3.05326634961232344e-1) / (x * x) + 3.60344899949804439e-1) / (x * x)
      + 1.25781726111229246e-1) / (x * x) + 1.60837851487422766e-2) / (x * x) + 6.58749161529837803e-4)
  / (((((1 / (x * x) + 2.56852019228982242e0) / (x * x) + 1.87295284992346725e0) / (x * x)
      + 5.27905102951428412e-1) / (x * x) + 6.05183413124413191e-2) / (x * x) + 2.33520497626869185e-3));

CREATE MACRO two_sided_p(z) AS
CASE
  WHEN abs(z) / sqrt(2.0::DOUBLE) <= 0.46875 THEN erfc_small(abs(z)::DOUBLE / sqrt(2.0::DOUBLE))
  WHEN abs(z) / sqrt(2.0::DOUBLE) <= 4 THEN erfc_middle(abs(z)::DOUBLE / sqrt(2.0::DOUBLE))
  ELSE erfc_large(abs(z)::DOUBLE / sqrt(2.0::DOUBLE))
END;
COMMENT ON MACRO two_sided_p IS 'Chance of a z at least this far from 0 when nothing changed.';
