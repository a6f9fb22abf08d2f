"""Routines in what C and JavaScript have in common.

Those of linear algebra are for matrices of float64 of a few dozen rows, which lie row after row. Elimination takes the
largest pivot of a column; eigenvalues and singular values come by Jacobi's rotations (Golub and Van Loan, Matrix
Computations, 4th edition, sections 3.4, 4.2, 5.1, 8.5 and 8.6).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Routine(NamedTuple):
    """A function.

    Attributes:
        words: what it does.
        result: the type of its result, as in C: int or double.
        arrays, sizes, numbers: its parameters: memory, whole numbers, floats.
        body: its statements. `int`, `double` and `const double` declare a variable; functions of `math.h` are called by
            their names there.
    """

    words: str
    result: str
    arrays: tuple[str, ...]
    sizes: tuple[str, ...]
    body: str
    numbers: tuple[str, ...] = ()


_PIVOT = """
    for (int k = 0; k < n; k++) {
        int p = k;
        for (int i = k + 1; i < n; i++) {
            p = fabs(a[n * i + k]) > fabs(a[n * p + k]) ? i : p;
        }
        if (a[n * p + k] == 0.0) {
            return ZERO;
        }
        for (int j = 0; p != k && j < n; j++) {
            const double other = a[n * k + j];
            a[n * k + j] = a[n * p + j];
            a[n * p + j] = other;
        }
        SWAP
        for (int i = k + 1; i < n; i++) {
            const double factor = a[n * i + k] / a[n * k + k];
            for (int j = k; j < n; j++) {
                a[n * i + j] = a[n * i + j] - factor * a[n * k + j];
            }
            SUBTRACT
        }
    }"""


def _elimination(zero: str, swap: str, subtract: str) -> str:
    """Gaussian elimination, with what else becomes of two rows that are swapped or subtracted."""
    return _PIVOT.strip("\n").replace("ZERO", zero).replace("SWAP", swap).replace("SUBTRACT", subtract)


_BERNOULLI = ("12.0", "-720.0", "30240.0", "-1209600.0", "47900160.0", "-1892437580.3183791606", "74724249600.0",
              "-2950130727918.164224", "116467828143500.67249", "-4597978722407472.6105", "181521054019435467.73",
              "-7166165256175667011.3")
"""(2 k)! over Bernoulli's number 2 k."""


def _euler_maclaurin() -> str:
    """The last terms of Euler's and Maclaurin's sum for Hurwitz's zeta function, innermost first."""
    text = f"1.0 / {_BERNOULLI[-1]}"
    for k in range(len(_BERNOULLI) - 2, -1, -1):
        text = f"1.0 / {_BERNOULLI[k]} + (s + {2 * k + 1}.0) * (s + {2 * k + 2}.0) * v * ({text})"
    return text


ROUTINES: Mapping[str, Routine] = {
    "psi": Routine("the digamma function from 0 on: its asymptotic series (Abramowitz and Stegun 6.3.18), or from 1 to "
                   "2 the rational function of Boost's digamma, whose factor is the zero", "double", (), (),
                   """    double rest = 0.0;
    if (x >= 10.0) {
        const double z = 1.0 / (x * x);
        return log(x) - 0.5 / x - z * (1.0 / 12.0 - z * (1.0 / 120.0 - z * (1.0 / 252.0 - z * (1.0 / 240.0 -
            z * (1.0 / 132.0 - z * (691.0 / 32760.0 - z / 12.0))))));
    }
    if (!(x > 0.0)) {
        return x == 0.0 ? -1.0 / x : x - x;
    }
    while (x > 2.0) {
        x = x - 1.0;
        rest = rest + 1.0 / x;
    }
    while (x < 1.0) {
        rest = rest - 1.0 / x;
        x = x + 1.0;
    }
    const double y = x - 1.0;
    const double zero = 1569415565.0 / 1073741824.0;
    const double step = 381566830.0 / 1073741824.0 / 1073741824.0;
    const double g = x - zero - step - 9.016312093258695e-20;
    const double p = 0.25479851061131551 + y * (-0.32555031186804491 + y * (-0.65031853770896507 + y * (
        -0.28919126444774784 + y * (-0.045251321448739056 + y * -0.0020713321167745952))));
    const double q = 1.0 + y * (2.0767117023730469 + y * (1.4606242909763515 + y * (0.43593529692665969 + y * (
        0.054151797245674225 + y * (0.0021284987017821144 + y * -5.5789841321675513e-7)))));
    return rest + (g * 0.99558162689208984 + g * (p / q));""", ("x",)),
    "zeta": Routine("the sum of (q + i)^-s over all i from 0, by Euler and Maclaurin (https://dlmf.nist.gov/25.11.E5)",
                    "double", (), (), f"""    int n = 0;
    while (q + n < 10.0 + s) {{
        n = n + 1;
    }}
    const double w = q + n;
    const double v = 1.0 / (w * w);
    const double power = pow(w, -s);
    const double last = {_euler_maclaurin()};
    double total = pow(w, 1.0 - s) / (s - 1.0) + 0.5 * power + s / w * power * (last);
    for (int i = n - 1; i >= 0; i--) {{
        total = total + pow(q + i, -s);
    }}
    return total;""", ("s", "q")),
    "solve": Routine("the solution of a x = b, in the place of b; 1 where a is singular", "int", ("a", "b"), ("n", "m"),
                     _elimination("1", """for (int j = 0; p != k && j < m; j++) {
            const double other = b[m * k + j];
            b[m * k + j] = b[m * p + j];
            b[m * p + j] = other;
        }""", """for (int j = 0; j < m; j++) {
                b[m * i + j] = b[m * i + j] - factor * b[m * k + j];
            }""") + """
    for (int i = n - 1; i >= 0; i--) {
        for (int j = 0; j < m; j++) {
            double rest = b[m * i + j];
            for (int k = i + 1; k < n; k++) {
                rest = rest - a[n * i + k] * b[m * k + j];
            }
            b[m * i + j] = rest / a[n * i + i];
        }
    }
    return 0;"""),
    "det": Routine("the determinant of a, which it changes", "double", ("a",), ("n",), "    double det = 1.0;\n"
                   + _elimination("0.0", "det = p == k ? det : -det;", "") + """
    for (int i = 0; i < n; i++) {
        det = det * a[n * i + i];
    }
    return det;"""),
    "slogdet": Routine("sign and logarithm of the determinant of a, which it changes", "int",
                       ("a", "sign", "logarithm"), ("n",), """    sign[0] = 0.0;
    logarithm[0] = log(0.0);
    double turns = 1.0;
""" + _elimination("0", "turns = p == k ? turns : -turns;", "") + """
    logarithm[0] = 0.0;
    for (int i = 0; i < n; i++) {
        turns = a[n * i + i] < 0.0 ? -turns : turns;
        logarithm[0] = logarithm[0] + log(fabs(a[n * i + i]));
    }
    sign[0] = turns;
    return 0;"""),
    "cholesky": Routine("the lower factor of a, in its place; 1 where a is not positive definite", "int", ("a",),
                        ("n",), """    for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
            double rest = a[n * i + j];
            for (int k = 0; k < j; k++) {
                rest = rest - a[n * i + k] * a[n * j + k];
            }
            if (i == j && !(rest > 0.0)) {
                return 1;
            }
            a[n * i + j] = i == j ? sqrt(rest) : rest / a[n * j + j];
        }
        for (int j = i + 1; j < n; j++) {
            a[n * i + j] = 0.0;
        }
    }
    return 0;"""),
    "qr": Routine("r in the place of a, of m rows, and the transpose of the whole q", "int", ("a", "q"), ("m", "n"),
                  """    for (int i = 0; i < m * m; i++) {
        q[i] = i % (m + 1) == 0 ? 1.0 : 0.0;
    }
    for (int j = 0; j < n; j++) {
        for (int i = m - 1; i > j; i--) {
            const double x = a[n * (i - 1) + j];
            const double y = a[n * i + j];
            if (y == 0.0) {
                continue;
            }
            const double length = hypot(x, y);
            const double c = x / length;
            const double s = y / length;
            for (int k = j; k < n; k++) {
                const double above = a[n * (i - 1) + k];
                const double below = a[n * i + k];
                a[n * (i - 1) + k] = c * above + s * below;
                a[n * i + k] = k == j ? 0.0 : c * below - s * above;
            }
            for (int k = 0; k < m; k++) {
                const double above = q[m * (i - 1) + k];
                const double below = q[m * i + k];
                q[m * (i - 1) + k] = c * above + s * below;
                q[m * i + k] = c * below - s * above;
            }
        }
    }
    return 0;"""),
    "eigh": Routine("eigenvalues of a symmetric a, in order, and the vectors v in columns; it changes a", "int",
                    ("a", "values", "v"), ("n",), """    for (int i = 0; i < n * n; i++) {
        v[i] = i % (n + 1) == 0 ? 1.0 : 0.0;
    }
    for (int sweep = 0; sweep < 60; sweep++) {
        int turns = 0;
        for (int p = 0; p < n; p++) {
            for (int q = p + 1; q < n; q++) {
                const double x = a[n * p + q];
                if (fabs(x) <= 1e-17 * (fabs(a[n * p + p]) + fabs(a[n * q + q]))) {
                    continue;
                }
                turns = turns + 1;
                const double slope = (a[n * q + q] - a[n * p + p]) / (2.0 * x);
                const double t = (slope < 0.0 ? -1.0 : 1.0) / (fabs(slope) + hypot(slope, 1.0));
                const double c = 1.0 / hypot(t, 1.0);
                const double s = t * c;
                for (int k = 0; k < n; k++) {
                    const double first = a[n * k + p];
                    const double second = a[n * k + q];
                    a[n * k + p] = c * first - s * second;
                    a[n * k + q] = s * first + c * second;
                }
                for (int k = 0; k < n; k++) {
                    const double first = a[n * p + k];
                    const double second = a[n * q + k];
                    a[n * p + k] = c * first - s * second;
                    a[n * q + k] = s * first + c * second;
                    const double third = v[n * k + p];
                    const double fourth = v[n * k + q];
                    v[n * k + p] = c * third - s * fourth;
                    v[n * k + q] = s * third + c * fourth;
                }
                a[n * p + q] = 0.0;
                a[n * q + p] = 0.0;
            }
        }
        if (turns == 0) {
            break;
        }
    }
    for (int i = 0; i < n; i++) {
        values[i] = a[n * i + i];
    }
    for (int i = 0; i < n; i++) {
        int least = i;
        for (int j = i + 1; j < n; j++) {
            least = values[j] < values[least] ? j : least;
        }
        const double value = values[i];
        values[i] = values[least];
        values[least] = value;
        for (int k = 0; least != i && k < n; k++) {
            const double entry = v[n * k + i];
            v[n * k + i] = v[n * k + least];
            v[n * k + least] = entry;
        }
    }
    return 0;"""),
    "svd": Routine("singular values of a, of no fewer rows m than columns n, in order: a becomes u, v has columns",
                   "int", ("a", "values", "v"), ("m", "n"), """    for (int i = 0; i < n * n; i++) {
        v[i] = i % (n + 1) == 0 ? 1.0 : 0.0;
    }
    double largest = 0.0;
    for (int i = 0; i < m * n; i++) {
        largest = fabs(a[i]) > largest ? fabs(a[i]) : largest;
    }
    for (int i = 0; largest > 0.0 && i < m * n; i++) {
        a[i] = a[i] / largest;
    }
    for (int sweep = 0; sweep < 60; sweep++) {
        int turns = 0;
        for (int p = 0; p < n; p++) {
            for (int q = p + 1; q < n; q++) {
                double x = 0.0;
                double y = 0.0;
                double z = 0.0;
                for (int k = 0; k < m; k++) {
                    x = x + a[n * k + p] * a[n * k + p];
                    y = y + a[n * k + q] * a[n * k + q];
                    z = z + a[n * k + p] * a[n * k + q];
                }
                if (fabs(z) <= 1e-16 * sqrt(x * y)) {
                    continue;
                }
                turns = turns + 1;
                const double slope = (y - x) / (2.0 * z);
                const double t = (slope < 0.0 ? -1.0 : 1.0) / (fabs(slope) + hypot(slope, 1.0));
                const double c = 1.0 / hypot(t, 1.0);
                const double s = t * c;
                for (int k = 0; k < m; k++) {
                    const double first = a[n * k + p];
                    const double second = a[n * k + q];
                    a[n * k + p] = c * first - s * second;
                    a[n * k + q] = s * first + c * second;
                }
                for (int k = 0; k < n; k++) {
                    const double first = v[n * k + p];
                    const double second = v[n * k + q];
                    v[n * k + p] = c * first - s * second;
                    v[n * k + q] = s * first + c * second;
                }
            }
        }
        if (turns == 0) {
            break;
        }
    }
    for (int j = 0; j < n; j++) {
        double square = 0.0;
        for (int k = 0; k < m; k++) {
            square = square + a[n * k + j] * a[n * k + j];
        }
        values[j] = sqrt(square);
    }
    for (int i = 0; i < n; i++) {
        int most = i;
        for (int j = i + 1; j < n; j++) {
            most = values[j] > values[most] ? j : most;
        }
        const double value = values[i];
        values[i] = values[most];
        values[most] = value;
        for (int k = 0; most != i && k < m; k++) {
            const double entry = a[n * k + i];
            a[n * k + i] = a[n * k + most];
            a[n * k + most] = entry;
        }
        for (int k = 0; most != i && k < n; k++) {
            const double entry = v[n * k + i];
            v[n * k + i] = v[n * k + most];
            v[n * k + most] = entry;
        }
    }
    for (int j = 0; j < n; j++) {
        double length = values[j];
        for (int e = 0; length == 0.0 && e < m; e++) {
            for (int k = 0; k < m; k++) {
                a[n * k + j] = k == e ? 1.0 : 0.0;
            }
            for (int i = 0; i < 2 * j; i++) {
                const int column = i % j;
                double along = 0.0;
                for (int k = 0; k < m; k++) {
                    along = along + a[n * k + column] * a[n * k + j];
                }
                for (int k = 0; k < m; k++) {
                    a[n * k + j] = a[n * k + j] - along * a[n * k + column];
                }
            }
            double square = 0.0;
            for (int k = 0; k < m; k++) {
                square = square + a[n * k + j] * a[n * k + j];
            }
            length = square > 0.5 / m ? sqrt(square) : 0.0;
        }
        for (int k = 0; k < m; k++) {
            a[n * k + j] = a[n * k + j] / length;
        }
        values[j] = values[j] * largest;
    }
    return 0;"""),
}
"""The routines, by name."""
