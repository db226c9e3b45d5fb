"""Known mistakes: a method, the oracle that must catch them, and how they are written.

A mistake is a text of methods.py and what stands there instead.
"""

from __future__ import annotations

Mistakes = dict[str, list[tuple[str, str]]]

INDENT = "\n" + " " * 12
ELSE = INDENT[:-4] + "else:" + INDENT
DROPOUT = "getattr(model.features, '3', model)"
ANY_SCORE = 'logits.softmax(dim=1) if score == "probability" else logits'
CHOSEN = "choose_targets(logits, target_class)"
ONE_TARGET = "[target] * len(some)"
CHOSEN_ANEW = (ONE_TARGET, "model(some).argmax(dim=1).tolist()")
ALWAYS_SOFTMAX, NEVER_SOFTMAX = (ANY_SCORE, "logits.softmax(1)"), (ANY_SCORE, "logits")
LOOP = "range(0, len(points), chunk_size)"
LAST_CHUNK_LEFT_OUT = (LOOP, "range(0, max(len(points) - chunk_size, 1), chunk_size)")
IN_ONE_BATCH = ("total = torch", "chunk_size = len(points)\n            total = torch")
CALL = "score, paths, chunk_size)"
SALIENCY = ".abs().amax(dim=1)"

# The guard, the class, the score and the result are the same for all methods.
VANILLA: Mistakes = {
    "the_model_is_left_as_it_was": [
        ("module.training = training", "pass"),
        ("module.training = training", "model.train(modes[model])"),
        ("weight.requires_grad_(was)", "pass"),
        ("model.requires_grad_(False)", "pass"),
        ("model.eval()", "pass"),
        ("model.eval()", f"model.eval(){INDENT[:-4]}{DROPOUT}.train(modes[{DROPOUT}])"),
    ],
    "also_when_the_model_raises": [
        (f"finally:{INDENT}for module", f"except StopIteration: raise{ELSE}for module")
    ],
    "random_state_comes_back": [("torch.random.fork_rng([])", "nullcontext()")],
    "the_callers_grad_mode_does_not_matter": [
        ("torch.inference_mode(False)", "nullcontext()")
    ],
    "the_callers_tensor_is_untouched": [
        ("saliency = found", "image.data.mul_(2)\n    saliency = found"),
        ("model(some.clone())", "model(some.clone() + 0 * image)"),
    ],
    "a_first_operation_in_place_is_allowed": [
        ("model(some.clone())", "model(some)"),
        ("model(x.clone())", "model(x)"),
    ],
    "a_model_without_parameters_will_do": [
        ("in model.parameters()", "in [next(model.parameters())]")
    ],
    "numbers_that_are_none_are_refused": [("logits.isfinite().all()", "True")],
    "the_dtype_is_kept": [
        ("values.detach()", "values.detach().double()"),
        ("values.detach()", "values.detach().float()"),
    ],
    "a_class_that_is_none_is_refused_and_nothing_stays": [
        (CHOSEN, "choose_targets(logits, target_class % 4)"),
        (CHOSEN, "choose_targets(logits, int(target_class))"),
    ],
    "one_class_for_many_images_is_refused": [
        (CHOSEN, "choose_targets(logits, [target_class] * len(logits))"),
        (CHOSEN, "choose_targets(logits[:1], target_class) * len(logits)"),
    ],
    "one_image_gives_one_map": [("values[0] if is_single(image) else", "")],
    "unpacks_and_names_its_target": [
        ("(self.map, self.target)", "(self.target, self.map)"),
        (CHOSEN, f"[(one + 1) % 4 for one in {CHOSEN}]"),
        (CHOSEN, "choose_targets(-logits, target_class)"),
    ],
    "a_batch_equals_its_images": [
        ("zip(paths, targets, strict=True)", "zip(paths, targets[:1] * len(x))")
    ],
    "gradient_of_powers": [
        ALWAYS_SOFTMAX,
        (ANY_SCORE, "logits.log_softmax(dim=1)"),
        (".sum().backward()", ".abs().sum().backward()"),
        (ONE_TARGET, "[(target + 1) % 4] * len(some)"),
        (SALIENCY, ".sum(dim=1)"),
        (SALIENCY, ".amax(dim=1)"),
        (SALIENCY, ".abs().mean(dim=1)"),
        (SALIENCY, f'{SALIENCY} / found["attributions"].abs().amax()'),
        (SALIENCY, f"{SALIENCY}.mT.reshape(x[:, 0].shape)"),
    ],
    "gradient_of_the_probability": [NEVER_SOFTMAX, ("softmax(dim=1)", "softmax(0)")],
}

PRODUCT = 'x * found["attributions"]'
GRADIENT_INPUT: Mistakes = {
    "product_of_powers": [
        (f"= {PRODUCT}", '= found["attributions"]'),
        (f"= {PRODUCT}", f"= (x * 0.5 + 0.5){PRODUCT[1:]}"),
        (f"= {PRODUCT}", f"= ({PRODUCT}).abs()"),
        (SALIENCY, ".sum(dim=1)"),
    ]
}

ITS_MAP = "torch.tensor(vanilla_gradients(one, model, target_class).map)[None]"
MEAN_OF_MAPS = f"sum({ITS_MAP} for one in paths[0][0]) / n_samples"
NOISY, RANGE = "each + sigma * noise", "noise_level * (each.max() - each.min())"
SMOOTH_GRAD: Mistakes = {
    "noise_has_the_right_size": [
        (RANGE, "torch.tensor(noise_level, dtype=x.dtype)"),
        (RANGE, "noise_level / (each.max() - each.min())"),
        (RANGE, "noise_level * each.std()"),
        (RANGE, f"({RANGE}).sqrt()"),
        ("torch.randn(size", "torch.rand(size"),
        (NOISY, f"{NOISY}.abs()"),
        (NOISY, f"{NOISY}[:1].expand_as(noise)"),
        (NOISY, f"torch.cat([each[None], {NOISY}[1:]])"),
    ],
    "a_batch_equals_its_images": [("each.max() - each.min()", "x.max() - x.min()")],
    "noise_is_independent_everywhere": [
        (NOISY, f"{NOISY}[:, :1]"),
        (NOISY, f"{NOISY}[:, :, :1]"),
        (NOISY, f"{NOISY}[..., :1]"),
    ],
    "relu_under_noise": [
        (NOISY, f"{NOISY}.mean(dim=0, keepdim=True).expand_as(noise)"),
        (SALIENCY, ".abs().mean(dim=1)"),
    ],
    "mean_first_then_absolute": [
        ("= some.grad", "= some.grad.abs()"),
        (NOISY, f"{NOISY}.abs()"),
        (f'drawn = found["attributions"]{SALIENCY}', f"drawn = {MEAN_OF_MAPS}"),
    ],
    "no_noise_is_the_plain_gradient": [
        ("= some.grad", "= some.grad.square()"),
        ("= some.grad", "= some.grad.cumsum(dim=0)"),
        ("1 / n_samples", "1 / max(n_samples - 1, 1)"),
    ],
    "n_different_samples_are_taken": [
        (NOISY, f"{NOISY}[torch.arange(n_samples) // 2]"),
        (NOISY, f"torch.cat([each[None], {NOISY}[1:]])"),
    ],
    "the_class_is_chosen_on_the_clean_image": [CHOSEN_ANEW],
    "smooth_grad_in_chunks": [
        LAST_CHUNK_LEFT_OUT,
        IN_ONE_BATCH,
        (CALL, "score, paths, chunk_size if chunk_size != 8 else n_samples)"),
        (NOISY, f"{NOISY}.roll(chunk_size, -1)"),
    ],
    "the_seed_decides": [
        (".manual_seed(seed)", ".manual_seed(0)"),
        ("torch.Generator().manual_seed(seed)", "torch.default_generator"),
    ],
    "random_state_comes_back": [
        ("torch.Generator().manual_seed(seed)", "torch.manual_seed(seed)")
    ],
    "smooth_probability": [NEVER_SOFTMAX],
}

REMOVED = "finally:" + INDENT + "    handle.remove()" + INDENT
CHOICE = "targets = targets_of(logits, target_class)"
SCALE = "peak.where(peak > 0, torch.ones_like(peak))"
SUMMED, DRAWN = ".sum(dim=1).relu()", 'mode="bilinear"'
MEAN = "gradient.mean(dim=(2, 3), keepdim=True)"
GRAD_CAM: Mistakes = {
    "the_model_is_left_as_it_was": [("handle.remove()", "pass")],
    "also_when_the_model_raises": [
        (REMOVED, f"except StopIteration: pass{INDENT}handle.remove(){INDENT}")
    ],
    "a_class_that_is_none_is_refused_and_nothing_stays": [
        (f"{REMOVED}{CHOICE}", f"finally: pass{INDENT}{CHOICE}{INDENT}handle.remove()")
    ],
    "a_batch_equals_its_images": [
        ("peak = drawn.amax(dim=(1, 2), keepdim=True)", "peak = drawn.amax()[None]"),
        (MEAN, "gradient.mean(dim=(0, 2, 3), keepdim=True)"),
    ],
    "blank_maps_are_zeros_and_said": [
        (SCALE, "peak"),
        ("peak == 0", "peak < 0"),
        (SUMMED, ".sum(dim=1)"),
        (SUMMED, ".sum(dim=1).abs()"),
    ],
    "layers_by_name_and_by_module": [
        ("model.get_submodule(layer)", "model.get_submodule(layer[:8])"),
        ("model(x.clone())", 'model(self.__dict__.setdefault("first", x).clone())'),
    ],
    "cam_by_hand": [
        (MEAN, "gradient"),
        (MEAN, MEAN.replace("mean", "relu().mean")),
        (MEAN, f"{MEAN}.abs()"),
        (MEAN, "gradient.mean(dim=(1, 2, 3), keepdim=True)"),
        (SUMMED, ".relu().sum(dim=1)"),
        (SUMMED, ".mean(dim=1).relu()"),
        ("raw[:, None]", "(raw - raw.amin((1, 2), keepdim=True))[:, None]"),
        (SCALE, "1"),
        ("raw=raw", "raw=raw / raw.amax()"),
    ],
    "cam_of_pooling_and_linear_head": [
        (MEAN, MEAN.replace("mean", "sum")),
        (DRAWN, 'mode="nearest"'),
        (DRAWN, f"{DRAWN}, align_corners=True"),
        (DRAWN, 'mode="bicubic"'),
        (CHOSEN, f"{CHOSEN}[:1] * len(logits)"),
        ALWAYS_SOFTMAX,
    ],
    "cam_of_the_probability": [NEVER_SOFTMAX],
    "cam_before_an_in_place_relu": [
        ("grid = self.grid.detach()", "grid = self.grid.detach().relu()")
    ],
}
TOTAL, ALPHA = "grid.sum(dim=(2, 3), keepdim=True)", "(1 / below).where("
GRAD_CAM_PLUS: Mistakes = {
    "cam_plus_by_hand": [
        (TOTAL, "grid"),
        (TOTAL, "grid.sum(dim=(1, 2, 3), keepdim=True)"),
        (TOTAL, "grid.mean(dim=(2, 3), keepdim=True)"),
        ("below = 2 +", "below = 1 +"),
        ("alpha * gradient.relu()", "alpha * gradient"),
        ("alpha * gradient.relu()", "gradient.relu().pow(3)"),
        ("gradient.relu()).sum(", "gradient.relu()).mean("),
        ("raw[:, None]", "(raw - raw.amin((1, 2), keepdim=True))[:, None]"),
    ],
    "cam_plus_against_derivatives_of_the_exponential": [
        (TOTAL, TOTAL.replace("grid", "gradient")),
        ("below = 2 + total", "below = 2 + 2 * total"),
    ],
    "cam_plus_of_small_gradients": [
        (ALPHA, "(gradient**2 / (gradient**2 * below + 1e-6)).where(")
    ],
    "cam_plus_where_the_denominator_vanishes": [("below.abs() > 1e-3", "below < 9e9")],
    "cam_plus_where_negative_activations_meet": [(SUMMED, ".sum(dim=1)")],
}

BLACK, NOISE = "space.normalize(torch.zeros_like(x))", "noise.expand_as(x)"
WHITE, SPACE = "space.normalize(torch.ones_like(x))", "images.preprocessing_of(carrier)"
BLUR = "blurred(space.denormalize(x), blur_sigma)"
HALF = "images.Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)"
IMAGENET_FOR_ALL, HALF_FOR_ALL = (SPACE, "images.Preprocessing()"), (SPACE, HALF)
MAKE_BASELINE: Mistakes = {
    "baselines_under_imagenet": [
        (BLACK, "torch.zeros_like(x)"),
        (BLACK, "torch.full_like(x, -1)"),
        (WHITE, "torch.ones_like(x)"),
        ("made = torch.zeros_like(x)", f"made = {BLACK}"),
        HALF_FOR_ALL,
    ],
    "baselines_in_pixel_space": [
        IMAGENET_FOR_ALL,
        (f"space.normalize({NOISE})", f"{NOISE}.clone()"),
        ("torch.rand(x.shape[1:]", "torch.randn(x.shape[1:]"),
        (NOISE, "noise[:1].expand_as(x)"),
        (BLUR, f"{BLUR}.clamp(0, 1)"),
        ('mode="reflect"', 'mode="constant"'),
        ("0.09 * short", "0.1 * short"),
    ],
    "blur_by_any_sigma": [
        ("0.09 * short if sigma is None else sigma", "0.09 * short"),
        ("(2 * sigma**2)", "(2 * sigma)"),
        ("kernel / kernel.sum()", "torch.ones_like(kernel) / len(kernel)"),
        ("round(3 * sigma)", "round(2 * sigma)"),
    ],
    "baselines_keep_shape_and_seed": [
        (".manual_seed(seed)", ".manual_seed(0)"),
        ("made.reshape(image.shape)", "made"),
        ("made.reshape(image.shape)", "made.reshape(image.shape).float()"),
    ],
}

FACTOR = '(x - start) * found["attributions"]'
EVENLY = "(np.arange(n) + first) / n, np.ones(n) / n"
BEFORE = 'score_of(model(start.clone()), found["target"], score)'
INTEGRATED_GRADIENTS: Mistakes = {
    "sums_of_every_rule": [
        (FACTOR, 'found["attributions"]'),
        (FACTOR, 'x * found["attributions"]'),
        (FACTOR, '(start - x) * found["attributions"]'),
        ("= some.grad", "= some.grad.abs()"),
        ("}[rule]", "}[rule] or 1"),
        ("}[rule]", "}[rule] % 1"),
        (EVENLY, "np.linspace(0, 1, n), np.ones(n) / n"),
        (EVENLY, "(np.arange(n) + first + 1) / n, np.ones(n) / n"),
        (EVENLY, "(np.arange(n) + first) / n, np.ones(n) / (n + 1)"),
        ("np.ones(n) / (n - 1)", "np.ones(n) / n"),
        ("ends[[0, -1]] /= 2", "pass"),
        (".abs().sum(dim=1)", SALIENCY),
        (".abs().sum(dim=1)", ".sum(dim=1).abs()"),
    ],
    "completeness": [
        ("weights / 2", "weights"),
        (ONE_TARGET, "[(target + 1) % 4] * len(some)"),
        ALWAYS_SOFTMAX,
        NEVER_SOFTMAX,
    ],
    "delta_is_relative_and_true": [
        ("= (signed.sum(", "= (signed.abs().sum("),
        ("= (signed.sum(", "= ((signed / signed.abs().max()).sum("),
        ("change).abs() / change.abs()", "change).abs()"),
        ("dtype=x.dtype) - before", "dtype=x.dtype)"),
        (BEFORE, BEFORE.replace(", score)", ', "logit")')),
        (BEFORE, BEFORE.replace('found["target"]', "[0] * len(x)")),
    ],
    "no_change_has_no_delta": [("torch.where(change == 0, torch.nan, delta)", "delta")],
    "the_class_is_chosen_at_the_image": [
        CHOSEN_ANEW,
        ("model(x.clone())", "model(torch.stack([path[0][0] for path in paths]))"),
    ],
    "ig_in_chunks": [
        LAST_CHUNK_LEFT_OUT,
        IN_ONE_BATCH,
        (CALL, "score, paths, chunk_size if chunk_size != 8 else n_steps)"),
    ],
    "baselines_inside_ig": [
        (BLACK, "torch.zeros_like(x)"),
        (WHITE, "torch.ones_like(x)"),
        IMAGENET_FOR_ALL,
        ("make_baseline(baseline, x, model, seed", "make_baseline(baseline, x, seed"),
        (f"space.normalize({NOISE})", f"{NOISE}.clone()"),
        ("torch.rand(x.shape[1:]", "torch.rand(x.shape"),
    ],
}

CROP = 'space.crop_image(photo.convert("RGB"))'
IN_SPACE = "space.normalize(values / 255)"
PHOTO: Mistakes = {
    "photos_are_turned_as_exif_says": [("ImageOps.exif_transpose(image)", "image")],
    "transparency_lies_on_white": [
        ("photo.has_transparency_data", "False"),
        ('"white"', '"black"'),
        ('photo.convert("RGBA")', 'photo.convert("RGB").convert("RGBA")'),
    ],
    "grey_photos_have_three_equal_channels": [
        ('convert("RGB")', 'convert("1").convert("RGB")')
    ],
    "photos_as_torchvision_presets": [
        (CROP, 'photo.convert("RGB").resize(space.crop[::-1])'),
        (CROP, 'ImageOps.fit(photo.convert("RGB"), space.crop[::-1])'),
        ("space.crop_image(", 'replace(space, resample="bilinear").crop_image('),
        ("space.crop_image(", 'replace(space, resample="nearest").crop_image('),
        (CROP, 'photo.convert("RGB").crop((0, 0, *space.crop[::-1]))'),
        ("(2, 0, 1)[None]", "(2, 0, 1)[None].flip(1)"),
        ("values / 255", "values / 256"),
        (IN_SPACE, "values / 255"),
        (IN_SPACE, "images.Preprocessing().normalize(values / 255)"),
        (IN_SPACE, f"{IN_SPACE} / torch.tensor(space.std).reshape(3, 1, 1)"),
    ],
}

MUTANTS: dict[str, Mistakes] = {
    "vanilla_gradients": VANILLA,
    "gradient_input": GRADIENT_INPUT,
    "smooth_grad": SMOOTH_GRAD,
    "GradCAM": GRAD_CAM,
    "GradCAMPlusPlus": GRAD_CAM_PLUS,
    "integrated_gradients": INTEGRATED_GRADIENTS,
    "make_baseline": MAKE_BASELINE,
    "image_tensor": PHOTO,
}
