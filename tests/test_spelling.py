"""British and American spellings have the same terms; other words are left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.spelling import american
from indexer.terms import terms


@pytest.mark.parametrize(
    ("british", "wanted"),
    [
        ("oestrogen deficiency", "estrogen deficiency"),
        ("tumour necrosis", "tumor necrosis"),
        ("behavioural colour", "behavioral color"),
        ("haemoglobin anaemia leukaemia ischaemic", "hemoglobin anemia leukemia ischemic"),
        ("hyperglycaemia", "hyperglycemia"),
        ("paediatric orthopaedic aetiology", "pediatric orthopedic etiology"),
        ("faecal caecum anaesthesia", "fecal cecum anesthesia"),
        ("oedema oesophagus foetal", "edema esophagus fetal"),
        ("diarrhoea dyspnoea homoeostasis", "diarrhea dyspnea homeostasis"),
        ("randomised characterise immunisation", "randomized characterize immunization"),
        ("mineralising mineralisation", "mineralizing mineralization"),
        ("analysed catalysed", "analyzed catalyzed"),
        ("fibre fibres centre litres", "fiber fibers center liters"),
        ("signalling labelled modelling", "signaling labeled modeling"),
        ("sulphate analogues grey mould", "sulfate analogs gray mold"),
        ("ageing", "aging"),
    ],
)
def test_spellings_have_the_same_terms(british: str, wanted: str) -> None:
    assert terms(british) == terms(wanted)


@pytest.mark.parametrize(
    "word",
    "exercise disease precise comprised promised raised noise rise arises revised advise supervised expertise "
    "otherwise likewise franchise compromised practise premise four hour contour pour does doer phoenix poem aerosol "
    "caesium michael israel grew obey they acre more fire store bell filled called spelling cancer poised cruise "
    "bruised paradise merchandise improvise incised devised anaerobic sepsis basis aerobic algae vertebrae "
    "coefficient".split(),
)
def test_other_words_are_left_alone(word: str) -> None:
    assert american(word) == word


@given(st.text(alphabet="abcdefghilmnoprstuyz", max_size=14))
def test_american_words_stay_american(word: str) -> None:
    once = american(word)
    assert american(american(once)) == american(once)
