"""Metrics that runs saved before moments were kept about the mean."""


def _centred_correlation(weight, x, y, xx, yy, xy):
    x_mean, y_mean = x / (weight or 1.0), y / (weight or 1.0)
    return {
        "weight": weight,
        "x_mean": x_mean,
        "y_mean": y_mean,
        "x_square": max(xx - x * x_mean, 0.0),
        "y_square": max(yy - y * y_mean, 0.0),
        "product": xy - x * y_mean,
    }


def _centred_explained_variance(weight, target, target_squared, error, error_squared):
    target_mean, error_mean = target / (weight or 1.0), error / (weight or 1.0)
    return {
        "weight": weight,
        "target_mean": target_mean,
        "target_square": max(target_squared - target * target_mean, 0.0),
        "error_mean": error_mean,
        "error_square": max(error_squared - error * error_mean, 0.0),
    }


# By kind: a field that only earlier versions saved, and what turns theirs into ours.
EARLIER = {
    "Correlation": ("xx", _centred_correlation),
    "ExplainedVariance": ("target_squared", _centred_explained_variance),
}
