"""Tables that are like a given one and hold nobody of it: a conditional GAN for rows, its monitors, and the verdict on what it made.

`fit.fit_gan` learns a table, `TrainedGan.sample` draws rows, `verdict.judge_table` says what they may be used for. Light to import.
"""
