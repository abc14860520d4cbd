"""Whether contributions can be believed: what the server sees by itself, and what follows for their weight.

`plausibility` and `copies` look at numbers and weights, `survey` lets every expert name the samples of every generator,
`agreement` says how clients agree, `judgement` who is doubted beyond measure, `report` is the result, and `credit`
makes the contributions that count. `vet` ties them together. docs/trust.md says what is not defended.
"""
