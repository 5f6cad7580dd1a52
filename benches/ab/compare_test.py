"""python3 -m unittest discover --start-directory benches/ab --pattern '*_test.py'"""

import unittest

from compare import Row, rows, table


def figure(value, name="rate", better="more"):
    return {"series": "stream", "figure": name, "unit": "/s", "better": better, "value": value}


def row(before, after, better="more"):
    return Row("stream", "rate", "/s", better, before, after)


class Compare(unittest.TestCase):
    def test_a_ratio_is_that_of_the_medians(self):
        self.assertEqual(row([100, 500, 200], [90, 180, 1_000]).ratio(), 180 / 200)

    def test_rounds_are_compared_in_pairs(self):
        self.assertEqual(row([100, 200], [110, 190]).ratios(), [1.1, 0.95])

    def test_a_verdict_needs_every_round(self):
        self.assertEqual(row([100, 100, 100], [101, 102, 103]).verdict(), "better")
        self.assertEqual(row([100, 100, 100], [99, 98, 97]).verdict(), "worse")
        self.assertEqual(row([100, 100, 100], [99, 98, 101]).verdict(), "–")
        self.assertEqual(row([100, 100, 100], [100, 101, 102]).verdict(), "–")

    def test_two_rounds_are_no_verdict(self):
        self.assertEqual(row([100, 100], [110, 120]).verdict(), "–")

    def test_what_is_shown_as_even_is_even(self):
        self.assertEqual(row([10_000] * 3, [10_001] * 3).verdict(), "–")

    def test_less_can_be_better(self):
        self.assertEqual(row([100, 100, 100], [101, 102, 103], "less").verdict(), "worse")
        self.assertEqual(row([100, 100, 100], [99, 98, 97], "less").verdict(), "better")

    def test_nothing_is_no_denominator(self):
        nothing = row([0, 0], [1, 2])
        self.assertIsNone(nothing.ratio())
        self.assertEqual((nothing.ratios(), nothing.verdict()), ([], "–"))

    def test_a_round_that_lacks_a_figure_does_not_count(self):
        (found,) = rows([[figure(1)], [], [figure(3)]], [[figure(10)], [figure(20)], [figure(30)]])
        self.assertEqual((found.before, found.after), ([1, 3], [10, 30]))

    def test_figures_are_told_apart_and_keep_their_order(self):
        found = rows([[figure(1, "b"), figure(2, "a")]], [[figure(4, "a"), figure(3, "b"), figure(5, "new")]])
        self.assertEqual([(row.figure, row.before, row.after) for row in found], [("b", [1], [3]), ("a", [2], [4])])

    def test_a_table_shows_medians_spread_and_ratios(self):
        last = table("v1", [[figure(1_000)], [figure(1_010)], [figure(990)]], [[figure(900)], [figure(950)], [figure(940)]]).splitlines()[-1]
        self.assertEqual(
            last, "| stream | rate, /s | more | 1,000 (990 – 1,010) | 940 (900 – 950) | 0.940 | 0.900 – 0.949 | worse |")


if __name__ == "__main__":
    unittest.main()
