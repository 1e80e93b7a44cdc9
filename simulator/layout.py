"""Where things stand in the arrays of the core: columns of the market, parameters, state.

Apart from `core` so that who only fills these arrays in need not load the compiled functions.
"""

# -- columns of the market ------------------------------------------------------------------
OPEN, HIGH, LOW, CLOSE, SCALE, LIMIT, FEATURES = 0, 1, 2, 3, 4, 5, 6

# -- parameters -----------------------------------------------------------------------------
FEE = 0  # share of the traded amount
IMPACT = 1  # share of the price lost by a trade: slippage and half the spread
BORROW = 2  # a bar, on what is borrowed: the value sold short, or cash below zero
FUNDING = 3  # a bar, on the position's value: longs pay, shorts receive
MAX_LONG, MAX_SHORT = 4, 5  # largest fraction, both at least 0
BAND = 6  # a difference to the order below this fraction of equity is not traded
STOP_LOSS, TAKE_PROFIT = 7, 8  # distance to the entry price as a share of it; 0: none
MAX_DRAWDOWN = 9  # at this loss from the peak everything is sold and the episode ends; 0: none
EASE_FROM, EASE_TO = 10, 11  # orders shrink from the first drawdown to nothing at the second
SAME_CLOSE = 12  # 1: fill at the close that the decision was taken at. Look-ahead.
REWARD_UNIT, REWARD_SCALE, RISK_FACTOR = 13, 14, 15
PARAMETERS = 16

# -- state ----------------------------------------------------------------------------------
BAR, LAST = 0, 1  # the bar whose close we are at, and the last one of the episode
CASH, UNITS, ENTRY = 2, 3, 4  # ENTRY: mean price paid for what is held, 0 when flat
EQUITY, PEAK, STATUS, POSITION = 5, 6, 7, 8  # at the close; POSITION is a fraction of equity
# What the last bar did. FILL is the order at the open, EXIT a stop or target inside the bar.
FILL_UNITS, FILL_PRICE, EXIT_UNITS, EXIT_PRICE = 9, 10, 11, 12
FEES, IMPACT_PAID, FINANCING, EVENT, RETURN = 13, 14, 15, 16, 17
STATE = 18

RUNNING, HALTING, HALTED, RUINED = 0.0, 1.0, 2.0, 3.0
NOTHING, STOPPED, TAKEN, GAPPED = 0.0, 1.0, 2.0, 3.0

SMALLEST_GROWTH = 1e-6
"""Growth of one bar below which the reward falls no further: ruin costs log(1e-6) = -13.8."""
DUST = 1e-9
