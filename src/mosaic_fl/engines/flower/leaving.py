"""What leaves a site by each kind of work: by it the site's limits count."""

from mosaic_fl.client.custody import ANSWER, CONTRIBUTION, JUDGEMENT, ROUND
from mosaic_fl.engines.flower.codec import Deliver, FitFusion, Work
from mosaic_fl.engines.tasks import AnswerTask, BoostTask, ContributeTask, EvaluateTask, FitTask, StatisticsTask

KINDS: dict[type[Work], str] = {
    ContributeTask: CONTRIBUTION,
    AnswerTask: ANSWER,
    FitTask: ROUND,
    BoostTask: ROUND,
    StatisticsTask: ROUND,
    FitFusion: ROUND,
    EvaluateTask: JUDGEMENT,
    Deliver: JUDGEMENT,
}
