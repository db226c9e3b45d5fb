"""Problem 4: What each word of BERT attends to."""

PRELOADED = ("transformers.models.bert.modeling_bert",)
